//! What is asked of jobs, as the conditions of a query.

use std::ops::RangeInclusive;

use rusqlite::types::{ToSql, ToSqlOutput};

use crate::job::{Filter, IdRange, QueueName};

/// The condition that a column is the number of one of these queues, which are not none.
pub(super) fn in_queues(column: &str, queues: &[QueueName]) -> String {
    format!("{column} in (select id from queue where name in ({}))", Conditions::marks(queues.len()))
}

/// The `where` clause of a query, as it is put together.
#[derive(Default)]
pub(super) struct Conditions<'v> {
    terms: Vec<String>,
    values: Vec<ToSqlOutput<'v>>,
}

impl<'v> Conditions<'v> {
    pub(super) fn add(&mut self, term: &str, values: impl IntoIterator<Item = &'v dyn ToSql>) -> rusqlite::Result<()> {
        self.terms.push(term.to_owned());
        for value in values {
            self.values.push(value.to_sql()?);
        }
        Ok(())
    }

    /// Adds all that is asked for but labels and texts, which are looked for in other ways.
    pub(super) fn add_filter(&mut self, filter: &'v Filter) -> rusqlite::Result<()> {
        self.add_ids(&filter.ids)?;
        self.add_traits(filter)
    }

    /// Adds that a job's number is in one of these ranges, unless there is none.
    pub(super) fn add_ids(&mut self, ids: &[IdRange]) -> rusqlite::Result<()> {
        if ids.is_empty() { Ok(()) } else { self.add(&in_ranges(ids), []) }
    }

    /// Adds all that is asked for but numbers, labels and texts.
    pub(super) fn add_traits(&mut self, filter: &'v Filter) -> rusqlite::Result<()> {
        if !filter.queues.is_empty() {
            self.add_queues("job.queue_id", &filter.queues)?;
        }
        if !filter.states.is_empty() {
            let term = format!("job.state in ({})", Self::marks(filter.states.len()));
            self.add(&term, filter.states.iter().map(|state| state as &dyn ToSql))?;
        }
        let instants = [
            ("job.created_at >= ?", &filter.since),
            ("job.created_at < ?", &filter.until),
            ("job.finished_at >= ?", &filter.ended_since),
            ("job.finished_at < ?", &filter.ended_until),
        ];
        for (term, instant) in instants {
            if let Some(instant) = instant {
                self.add(term, [instant as &dyn ToSql])?;
            }
        }
        self.add_ending(filter)
    }

    /// Adds what is asked for of how a job ended.
    fn add_ending(&mut self, filter: &'v Filter) -> rusqlite::Result<()> {
        if !filter.groups.is_empty() {
            let term = format!("job.cause in ({})", Self::marks(filter.groups.len()));
            self.add(&term, filter.groups.iter().map(|group| group as &dyn ToSql))?;
        }
        if !filter.reasons.is_empty() {
            let term = format!("job.state = 'dead' and job.reason in ({})", Self::marks(filter.reasons.len()));
            self.add(&term, filter.reasons.iter().map(|reason| reason as &dyn ToSql))?;
        }
        if !filter.exit_codes.is_empty() {
            let one =
                |codes: &RangeInclusive<i32>| format!("job.exit_code between {} and {}", codes.start(), codes.end());
            let terms: Vec<String> = filter.exit_codes.iter().map(one).collect();
            self.add(&format!("({})", terms.join(" or ")), [])?;
        }
        Ok(())
    }

    /// Adds that a column is the number of one of these queues.
    pub(super) fn add_queues(&mut self, column: &str, queues: &'v [QueueName]) -> rusqlite::Result<()> {
        self.add(&in_queues(column, queues), queues.iter().map(|queue| queue as &dyn ToSql))
    }

    /// Adds that a job has all of these labels.
    pub(super) fn add_labels(&mut self, labels: &'v [(String, String)]) -> rusqlite::Result<()> {
        let term =
            "exists (select 1 from label as other where other.name = ? and other.value = ? and other.job_id = job.id)";
        labels.iter().try_for_each(|(name, value)| self.add(term, [name as &dyn ToSql, value]))
    }

    /// What stands for the values, in their order.
    pub(super) fn values(&self) -> &[ToSqlOutput<'v>] {
        &self.values
    }

    /// So many places for values.
    pub(super) fn marks(n: usize) -> String {
        vec!["?"; n].join(", ")
    }

    /// The clause.
    pub(super) fn clause(&self) -> String {
        if self.terms.is_empty() { String::new() } else { format!("where {}", self.terms.join(" and ")) }
    }
}

/// The condition that a job's number is in one of these ranges, which are not none.
///
/// Numbers are written out, because a statement takes no more than 32766 values, and in groups,
/// because an expression may not be more than 1000 deep and `or` goes one deeper with each term.
fn in_ranges(ranges: &[IdRange]) -> String {
    let one = |range: &IdRange| format!("job.id between {} and {}", range.first, range.last);
    let any_of = |ranges: &[IdRange]| format!("({})", ranges.iter().map(one).collect::<Vec<_>>().join(" or "));
    format!("({})", ranges.chunks(200).map(any_of).collect::<Vec<_>>().join(" or "))
}
