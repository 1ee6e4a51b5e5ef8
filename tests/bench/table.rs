//! The table: rows, what they are held against, and how they are written.

use crate::progress;
use crate::timing::Samples;
use crate::trouble::{Outcome, Trouble};

/// What a figure is counted in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// How many times as much.
    Times,
    /// Milliseconds.
    Millis,
    /// Hundredths.
    Percent,
    /// Millions of bytes.
    Megabytes,
    /// 1,048,576 bytes.
    Mebibytes,
    /// Things.
    Count,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Times => format!("{value:.2}x"),
            Self::Millis => format!("{value:.2} ms"),
            Self::Percent => format!("{value:.2} %"),
            Self::Megabytes => format!("{value:.1} MB"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// What a figure must not be over, or not under.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// The figure is to be this or less.
    AtMost(f64),
    /// The figure is to be this or more.
    AtLeast(f64),
    /// The figure is for information.
    None,
}

impl Bar {
    fn verdict(self, value: f64) -> Verdict {
        match self {
            Self::AtMost(limit) if value <= limit => Verdict::Met,
            Self::AtLeast(limit) if value >= limit => Verdict::Met,
            Self::AtMost(_) | Self::AtLeast(_) => Verdict::Over,
            Self::None => Verdict::NoBar,
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Self::AtMost(limit) => format!("at most {}", unit.show(limit)),
            Self::AtLeast(limit) => format!("at least {}", unit.show(limit)),
            Self::None => "–".to_owned(),
        }
    }
}

/// How a row stands to its bar.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    Over,
    NoBar,
    NotInstalled,
    Failed(String),
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    ours: String,
    theirs: String,
    figure: String,
    bar: String,
    verdict: Verdict,
    is_gate: bool,
}

impl Row {
    /// A figure of ours, held against a bar.
    pub(crate) fn figure(what: impl Into<String>, value: f64, unit: Unit, bar: Bar) -> Self {
        Self {
            what: what.into(),
            ours: String::new(),
            theirs: String::new(),
            figure: unit.show(value),
            bar: bar.show(unit),
            verdict: bar.verdict(value),
            is_gate: false,
        }
    }

    /// How many times as long as theirs ours takes, by the medians.
    pub(crate) fn ratio(what: impl Into<String>, ours: &Samples, theirs: &Samples, bar: Bar) -> Self {
        Self::figure(what, ours.ratio(theirs), Unit::Times, bar).ours(ours.described()).theirs(theirs.described())
    }

    /// How many times as fast as theirs ours is, by the medians.
    pub(crate) fn speed(what: impl Into<String>, ours: &Samples, theirs: &Samples, bar: Bar) -> Self {
        Self::figure(what, theirs.ratio(ours), Unit::Times, bar).ours(ours.described()).theirs(theirs.described())
    }

    /// What stands in the column of ours.
    pub(crate) fn ours(mut self, text: impl Into<String>) -> Self {
        self.ours = text.into();
        self
    }

    /// What stands in the column of theirs.
    pub(crate) fn theirs(mut self, text: impl Into<String>) -> Self {
        self.theirs = text.into();
        self
    }

    /// Lets the run fail where this is over its bar.
    pub(crate) fn gate(mut self) -> Self {
        self.is_gate = true;
        self
    }

    fn troubled(what: &str, trouble: &Trouble) -> Self {
        let verdict = match trouble {
            Trouble::NotInstalled(_) => Verdict::NotInstalled,
            Trouble::Failed(why) => Verdict::Failed(why.clone()),
        };
        let row = Self::figure(what, 0.0, Unit::Count, Bar::None);
        Self { figure: "–".to_owned(), verdict, ..row }
    }

    fn cells(&self) -> [&str; 6] {
        let verdict = match &self.verdict {
            Verdict::Met => "met",
            Verdict::Over => "**over**",
            Verdict::NoBar => "–",
            Verdict::NotInstalled => "not installed",
            Verdict::Failed(_) => "**failed**",
        };
        [&self.what, &self.ours, &self.theirs, &self.figure, &self.bar, verdict]
    }
}

/// All rows so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    group: &'static str,
    rows: Vec<(&'static str, Row)>,
}

impl Table {
    /// Lets the rows that follow belong to this group.
    pub(crate) fn begin(&mut self, group: &'static str) {
        self.group = group;
    }

    /// One more row; where there is trouble instead, a row that is called `what` and tells of it.
    pub(crate) fn add(&mut self, what: &str, row: Outcome<Row>) {
        let row = row.unwrap_or_else(|trouble| Row::troubled(what, &trouble));
        progress::say(format_args!("  {}", row.cells().join(" | ")));
        if let Verdict::Failed(why) = &row.verdict {
            progress::say(format_args!("  FAILED: {why}"));
        }
        self.rows.push((self.group, row));
    }

    /// Rows, or one that is called `what` and tells why there are none.
    pub(crate) fn add_all(&mut self, what: &str, rows: Outcome<Vec<Row>>) {
        match rows {
            Ok(rows) => rows.into_iter().for_each(|row| self.add(what, Ok(row))),
            Err(trouble) => self.add(what, Err(trouble)),
        }
    }

    /// Whether something failed, or went over a bar that is a gate.
    pub(crate) fn is_failed(&self) -> bool {
        self.rows.iter().any(|(_, row)| match &row.verdict {
            Verdict::Failed(_) => true,
            Verdict::Over => row.is_gate,
            Verdict::Met | Verdict::NoBar | Verdict::NotInstalled => false,
        })
    }

    /// The table, and below it what failed and why.
    pub(crate) fn markdown(&self) -> String {
        let mut text = "| group | what | ours | theirs | figure | bar | verdict |\n".to_owned();
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for (group, row) in &self.rows {
            let cells = row.cells().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
            text.push_str(&format!("| {group} | {} |\n", cells.join(" | ")));
        }
        for (group, row) in &self.rows {
            if let Verdict::Failed(why) = &row.verdict {
                text.push_str(&format!("\n{group}, {}, failed:\n\n```text\n{why}\n```\n", row.what));
            }
        }
        text
    }
}
