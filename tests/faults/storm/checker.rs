//! Whether what happened in a storm may happen: pure rules over a [`History`], in the manner of Jepsen's
//! total-queue.
//!
//! Nothing here knows how the queue works. What is acknowledged must be there; what is there must have been
//! pushed; no two runs of a job at once; each run has a higher token than those before; a job ends once; and
//! what was done twice has an excuse that was seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use qctl::job::{Outcome, Reason, StateKind};

use super::history::{Answer, Attempt, Deed, Entry, Fate, History, Job, Kind, Push, Says, What};

/// What must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// A push was acknowledged and its job is not there.
    Lost { job: i64, tag: String },
    /// The job has not come to an end.
    Unfinished { job: i64, state: &'static str },
    /// Nobody pushed this job, or nobody pushed it so, or the push was refused.
    Invented { job: i64, tag: String },
    /// Some lines of an import were queued and others not.
    HalfImported { batch: String, n_queued: usize, n_lines: usize },
    /// Two jobs held one key at a time, or pushes of one key were told of different jobs.
    KeySplit { key: String, jobs: Vec<i64> },
    /// A run began before another run of the job had ended.
    Overlap { job: i64, token: i64 },
    /// A run has no higher token than one before it.
    TokenFell { job: i64, before: i64, after: i64 },
    /// The job ended again after it had ended.
    EndedTwice { job: i64, n_ends: usize, n_put_back: usize },
    /// It ended in a way that nothing it did leads to.
    WrongEnd { job: i64, kind: Kind, state: &'static str, reason: Option<&'static str> },
    /// It was started although it had been taken back.
    RanAfterCancel { job: i64, token: i64 },
    /// Its work was done twice, and neither a worker nor anybody who put it back is to blame.
    UnexplainedDuplicate { job: i64, token: i64 },
    /// An attempt is said to have lost its worker, to which nothing had happened.
    LostWithoutCause { job: i64, token: i64, worker: String },
    /// What is recorded of a run is not what it wrote itself.
    Misreported { job: i64, token: i64, wrote: Vec<Says>, recorded: Option<&'static str> },
}

impl Violation {
    /// The job that it is about.
    pub(super) fn job(&self) -> Option<i64> {
        match self {
            Self::Lost { job, .. }
            | Self::Unfinished { job, .. }
            | Self::Invented { job, .. }
            | Self::Overlap { job, .. }
            | Self::TokenFell { job, .. }
            | Self::EndedTwice { job, .. }
            | Self::WrongEnd { job, .. }
            | Self::RanAfterCancel { job, .. }
            | Self::UnexplainedDuplicate { job, .. }
            | Self::LostWithoutCause { job, .. }
            | Self::Misreported { job, .. } => Some(*job),
            Self::HalfImported { .. } | Self::KeySplit { .. } => None,
        }
    }
}

/// Jobs whose work was done and that were run again, by the excuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Duplicates {
    /// The worker was killed before it had recorded the end.
    pub(super) n_killed: usize,
    /// The worker was silent for longer than its lease.
    pub(super) n_silent: usize,
    /// The worker was told to leave and handed the job back in that instant.
    pub(super) n_handed_back: usize,
    /// Somebody put the job back.
    pub(super) n_put_back: usize,
}

impl Duplicates {
    /// Those that a user did not ask for.
    pub(super) fn n_by_faults(self) -> usize {
        self.n_killed + self.n_silent + self.n_handed_back
    }
}

/// What the checker found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) violations: Vec<Violation>,
    pub(super) duplicates: Duplicates,
    pub(super) n_runs: usize,
}

/// Judges a history.
pub(super) fn check(history: &History) -> Findings {
    let case = Case::new(history);
    let mut findings = Findings::default();
    case.nothing_is_lost(&mut findings.violations);
    case.nothing_is_invented(&mut findings.violations);
    case.imports_are_whole(&mut findings.violations);
    case.keys_hold(&mut findings.violations);
    for job in &history.jobs {
        let file = case.file(job);
        file.runs_follow_each_other(&mut findings.violations);
        file.ends_once(&mut findings.violations);
        file.ends_as_it_should(&mut findings.violations);
        file.stays_cancelled(&mut findings.violations);
        file.is_reported_as_it_was(&mut findings.violations);
        file.is_excused(&case.history.workers, &mut findings);
    }
    findings.n_runs = history.log.iter().filter(|entry| entry.says == Says::Start).count();
    findings
}

/// A history, in order by job and by tag.
struct Case<'h> {
    history: &'h History,
    jobs: BTreeMap<i64, &'h Job>,
    pushes: BTreeMap<&'h str, &'h Push>,
    log: BTreeMap<i64, Vec<&'h Entry>>,
    deeds: BTreeMap<i64, Vec<&'h Deed>>,
}

impl<'h> Case<'h> {
    fn new(history: &'h History) -> Self {
        let mut log: BTreeMap<i64, Vec<&Entry>> = BTreeMap::new();
        for entry in &history.log {
            log.entry(entry.job).or_default().push(entry);
        }
        let mut deeds: BTreeMap<i64, Vec<&Deed>> = BTreeMap::new();
        for deed in &history.deeds {
            deeds.entry(deed.job).or_default().push(deed);
        }
        let jobs = history.jobs.iter().map(|job| (job.id, job)).collect();
        let pushes = history.pushes.iter().map(|push| (push.tag.as_str(), push)).collect();
        Self { history, jobs, pushes, log, deeds }
    }

    fn file(&self, job: &'h Job) -> File<'_> {
        File {
            job,
            kind: self.pushes.get(job.tag.as_str()).map(|push| push.kind),
            log: self.log.get(&job.id).map_or(&[], Vec::as_slice),
            deeds: self.deeds.get(&job.id).map_or(&[], Vec::as_slice),
            n_seen_ends: self.n_seen_ends(job.id),
        }
    }

    /// In how many different ways the job was seen to have ended.
    fn n_seen_ends(&self, job: i64) -> usize {
        let seen = self.history.glimpses.iter().filter(|glimpse| glimpse.job == job);
        seen.collect::<BTreeSet<_>>().len()
    }

    fn nothing_is_lost(&self, violations: &mut Vec<Violation>) {
        for push in &self.history.pushes {
            let (id, is_there) = match push.answer {
                Answer::Created(id) => (id, self.jobs.get(&id).is_some_and(|job| job.tag == push.tag)),
                Answer::Existing(id) => (id, self.jobs.contains_key(&id)),
                Answer::Nothing | Answer::Unknown => continue,
            };
            if !is_there {
                violations.push(Violation::Lost { job: id, tag: push.tag.clone() });
            }
        }
        let unfinished = self.history.jobs.iter().filter(|job| !job.state.is_final());
        violations.extend(unfinished.map(|job| Violation::Unfinished { job: job.id, state: job.state.name() }));
    }

    fn nothing_is_invented(&self, violations: &mut Vec<Violation>) {
        let mut tags = BTreeSet::new();
        for job in &self.history.jobs {
            let is_pushed = self.pushes.get(job.tag.as_str()).is_some_and(|push| {
                let is_answered = matches!(push.answer, Answer::Unknown) || push.answer == Answer::Created(job.id);
                is_answered && push.queue == job.queue && push.key.as_ref().map(|key| &key.name) == job.key.as_ref()
            });
            if !is_pushed || !tags.insert(&job.tag) {
                violations.push(Violation::Invented { job: job.id, tag: job.tag.clone() });
            }
        }
        for entry in &self.history.log {
            if self.jobs.get(&entry.job).is_none_or(|job| job.tag != entry.tag) {
                violations.push(Violation::Invented { job: entry.job, tag: entry.tag.clone() });
            }
        }
    }

    fn imports_are_whole(&self, violations: &mut Vec<Violation>) {
        let tags: BTreeSet<&str> = self.history.jobs.iter().map(|job| job.tag.as_str()).collect();
        let mut batches: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for push in &self.history.pushes {
            let Some(batch) = &push.batch else { continue };
            let (n_queued, n_lines) = batches.entry(batch).or_default();
            *n_queued += usize::from(tags.contains(push.tag.as_str()));
            *n_lines += 1;
        }
        for (batch, (n_queued, n_lines)) in batches {
            if n_queued != 0 && n_queued != n_lines {
                violations.push(Violation::HalfImported { batch: batch.to_owned(), n_queued, n_lines });
            }
        }
    }

    /// A key that outlasts its job has one job; of another, each job has done its last run before the next
    /// job of the key does its first, unless somebody put it back.
    fn keys_hold(&self, violations: &mut Vec<Violation>) {
        let mut holders: BTreeMap<_, BTreeSet<i64>> = BTreeMap::new();
        for push in &self.history.pushes {
            let Some(key) = &push.key else { continue };
            let holders = holders.entry((&push.queue, key)).or_default();
            if let Answer::Created(id) | Answer::Existing(id) = push.answer {
                holders.insert(id);
            }
            let same = |job: &&Job| job.queue == push.queue && job.key.as_ref() == Some(&key.name);
            holders.extend(self.history.jobs.iter().filter(same).map(|job| job.id));
        }
        for ((_, key), jobs) in holders {
            let jobs: Vec<i64> = jobs.into_iter().collect();
            let is_kept = if key.outlasts_its_job {
                jobs.len() <= 1
            } else {
                jobs.windows(2).all(|pair| self.comes_before(pair[0], pair[1]))
            };
            if !is_kept {
                violations.push(Violation::KeySplit { key: key.name.clone(), jobs });
            }
        }
    }

    fn comes_before(&self, one: i64, other: i64) -> bool {
        let is_put_back = self.deeds.get(&one).is_some_and(|deeds| deeds.iter().any(|deed| deed.what == What::PutBack));
        let last = self.log.get(&one).and_then(|entries| entries.last());
        let first = self.log.get(&other).and_then(|entries| entries.first());
        is_put_back || last.zip(first).is_none_or(|(last, first)| last.at < first.at)
    }
}

/// All that there is on one job.
struct File<'h> {
    job: &'h Job,
    kind: Option<Kind>,
    log: &'h [&'h Entry],
    deeds: &'h [&'h Deed],
    n_seen_ends: usize,
}

impl File<'_> {
    fn starts(&self) -> impl Iterator<Item = &Entry> {
        self.log.iter().copied().filter(|entry| entry.says == Says::Start)
    }

    fn attempt(&self, token: i64) -> Option<&Attempt> {
        self.job.attempts.iter().find(|attempt| attempt.token == token)
    }

    fn n_put_back(&self) -> usize {
        self.deeds.iter().filter(|deed| deed.what == What::PutBack).count()
    }

    /// One run after the other, and with rising tokens. Who writes after a later run has begun was not dead.
    fn runs_follow_each_other(&self, violations: &mut Vec<Violation>) {
        let job = self.job.id;
        let mut running: Option<i64> = None;
        for entry in self.log {
            let token = entry.token;
            match (entry.says, running) {
                (Says::Overlap, _) => violations.push(Violation::Overlap { job, token }),
                (Says::Start, Some(before)) if token <= before => {
                    violations.push(Violation::TokenFell { job, before, after: token });
                }
                (Says::Start, _) => running = Some(token),
                (Says::End | Says::Fail, Some(now)) if now == token => {}
                (Says::End | Says::Fail, _) => violations.push(Violation::Overlap { job, token }),
            }
        }
    }

    /// It ends once, and once more for each time that somebody put it back.
    fn ends_once(&self, violations: &mut Vec<Violation>) {
        let n_succeeded =
            self.job.attempts.iter().filter(|attempt| attempt.outcome == Some(Outcome::Succeeded)).count();
        let (n_ends, n_put_back) = (n_succeeded.max(self.n_seen_ends), self.n_put_back());
        if n_ends > 1 + n_put_back {
            violations.push(Violation::EndedTwice { job: self.job.id, n_ends, n_put_back });
        }
    }

    fn ends_as_it_should(&self, violations: &mut Vec<Violation>) {
        let Some(kind) = self.kind else { return };
        let last = self.job.attempts.last().and_then(|attempt| attempt.outcome);
        let may_be = match (self.job.state, self.job.reason) {
            (StateKind::Succeeded, _) => {
                !matches!(kind, Kind::Doomed | Kind::Fatal) && last == Some(Outcome::Succeeded)
            }
            (StateKind::Dead, Some(Reason::Crashed)) => self.n_last_lost() >= 3,
            (StateKind::Dead, Some(Reason::Exhausted)) => kind == Kind::Doomed && last == Some(Outcome::Failed),
            (StateKind::Dead, Some(Reason::Permanent)) => kind == Kind::Fatal && last == Some(Outcome::Failed),
            (StateKind::Cancelled, _) => self.deeds.iter().any(|deed| deed.what != What::PutBack),
            // Said elsewhere.
            (state, _) => !state.is_final(),
        };
        if !may_be {
            violations.push(Violation::WrongEnd {
                job: self.job.id,
                kind,
                state: self.job.state.name(),
                reason: self.job.reason.map(Reason::name),
            });
        }
    }

    /// How many attempts in a row were lost in the end; one that was handed back says nothing.
    fn n_last_lost(&self) -> usize {
        let outcomes = self.job.attempts.iter().rev().map(|attempt| attempt.outcome);
        let counted = outcomes.filter(|outcome| *outcome != Some(Outcome::Released));
        counted.take_while(|outcome| *outcome == Some(Outcome::Lost)).count()
    }

    /// What was taken off the queue does not start, and what was asked to stop starts once at most: it may
    /// have been on its way.
    fn stays_cancelled(&self, violations: &mut Vec<Violation>) {
        for (n, deed) in self.deeds.iter().enumerate() {
            let n_allowed = match deed.what {
                What::Cancelled => 0,
                What::AskedToStop => 1,
                What::PutBack => continue,
            };
            let put_back = self.deeds[n..].iter().find(|deed| deed.what == What::PutBack);
            let end = put_back.map_or(usize::MAX, |deed| deed.at);
            let starts = self.starts().filter(|start| start.at >= deed.at && start.at < end);
            violations.extend(
                starts.skip(n_allowed).map(|start| Violation::RanAfterCancel { job: start.job, token: start.token }),
            );
        }
    }

    /// Each run that wrote something is recorded as one attempt that ended as the run says. Who was stopped
    /// from outside may have said anything before.
    fn is_reported_as_it_was(&self, violations: &mut Vec<Violation>) {
        let mut wrote: BTreeMap<i64, Vec<Says>> = BTreeMap::new();
        for attempt in &self.job.attempts {
            wrote.entry(attempt.token).or_default();
        }
        for entry in self.log.iter().filter(|entry| entry.says != Says::Overlap) {
            wrote.entry(entry.token).or_default().push(entry.says);
        }
        for (token, wrote) in wrote {
            let attempt = self.attempt(token);
            let outcome = attempt.and_then(|attempt| attempt.outcome);
            let is_right = match outcome {
                Some(Outcome::Succeeded) => wrote == [Says::Start, Says::End],
                Some(Outcome::Failed) => {
                    let code = attempt.and_then(|attempt| attempt.exit_code);
                    wrote == [Says::Start, Says::Fail] && code == Some(self.exit_code())
                }
                Some(Outcome::Lost | Outcome::Released | Outcome::Cancelled) => wrote.len() <= 2,
                Some(Outcome::Timeout | Outcome::Snoozed | Outcome::Buried) | None => false,
            };
            if !is_right {
                let recorded = outcome.map(Outcome::name);
                violations.push(Violation::Misreported { job: self.job.id, token, wrote, recorded });
            }
        }
    }

    fn exit_code(&self) -> i32 {
        if self.kind == Some(Kind::Fatal) { 65 } else { 1 }
    }

    /// Why its work was done again, each time that it was; and that no attempt was lost without a cause.
    fn is_excused(&self, workers: &BTreeMap<String, Fate>, findings: &mut Findings) {
        let fate = |attempt: &Attempt| workers.get(&attempt.worker).copied().unwrap_or_default();
        for attempt in self.job.attempts.iter().filter(|attempt| attempt.outcome == Some(Outcome::Lost)) {
            if !fate(attempt).was_killed && !attempt.is_of_a_silent_worker() {
                let (job, token) = (self.job.id, attempt.token);
                let worker = attempt.worker.clone();
                findings.violations.push(Violation::LostWithoutCause { job, token, worker });
            }
        }
        let mut n_put_back = self.n_put_back();
        for end in self.log.iter().filter(|entry| entry.says == Says::End) {
            if !self.starts().any(|start| start.at > end.at) {
                continue;
            }
            let attempt = self.attempt(end.token);
            let outcome = attempt.and_then(|attempt| attempt.outcome);
            let duplicates = &mut findings.duplicates;
            match (outcome, attempt.map(fate)) {
                (Some(Outcome::Lost), _) if attempt.is_some_and(Attempt::is_of_a_silent_worker) => {
                    duplicates.n_silent += 1;
                }
                (Some(Outcome::Lost), Some(Fate { was_killed: true, .. })) => duplicates.n_killed += 1,
                (Some(Outcome::Released), Some(Fate { was_told_to_leave: true, .. })) => {
                    duplicates.n_handed_back += 1;
                }
                (Some(Outcome::Succeeded | Outcome::Cancelled), _) if n_put_back > 0 => {
                    n_put_back -= 1;
                    duplicates.n_put_back += 1;
                }
                _ => {
                    let (job, token) = (self.job.id, end.token);
                    findings.violations.push(Violation::UnexplainedDuplicate { job, token });
                }
            }
        }
    }
}

impl Attempt {
    fn is_of_a_silent_worker(&self) -> bool {
        self.error.as_deref() == Some("its worker fell silent")
    }
}
