//! `qctl import`

mod record;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use self::record::{DeadDraft, Reader};
use super::draft::{Draft, Finisher};
use super::job_options::cwd;
use super::key::Key;
use super::{Answer, Ctx, pushed, value};
use crate::clock::Timestamp;
use crate::exit::{Exit, Failure};
use crate::job::{JobId, Letter, QueueName};
use crate::render::{json, words};
use crate::store::{Buried, Pushed};
use crate::ui::Format;

/// Queue many jobs from a file, all or none
///
/// Each line is a shell command line or, where it begins with `{`, one job as JSON. Blank lines and
/// lines that begin with # are passed over. A bad line names its number and nothing is queued.
/// Prints the ids, one a line.
///
/// Inside of a step (qctl step) a line without a key gets one as a push does there, and equal lines are numbered,
/// so that each is a job, and a step that is run again queues none twice; the same import twice in one step
/// is one unless its lines have keys.
///
/// What qctl dlq export wrote is taken back whole: the jobs are ready and run as they did, or with --as-dead they are
/// dead as they were. What only tells what became of them is else passed over.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Keys of a job as JSON: command (an array), or shell (a line); queue, payload or payload_base64,
key, priority, delay, at, max_attempts, backoff, jitter, dead_on, timeout, kill_after, labels, env, cwd. A key is
as for push --key: auto is one that is made from the job. Where it is held, the id is that of the job that holds
it. What is no text is in base64: command_base64, shell_base64, cwd_base64, env_base64 (NAME=value, each).
kept_env stands for PATH, LANG, LC_* and TZ of here; key_until says until when a finished job holds its key.

Examples:
  qctl import jobs.txt
  find . -name '*.mov' -printf 'convert %p\\n' | qctl import -
  qctl dlq export | qctl --db other.db import --as-dead
  echo '{\"command\":[\"./send.sh\",\"17\"],\"queue\":\"mail\",\"key\":\"inv-17\"}' | qctl import")]
pub(crate) struct Import {
    /// Queue of the lines that name none
    #[arg(short = 'Q', long, value_name = "NAME", default_value_t, value_parser = value::queue)]
    queue: QueueName,
    /// Take dead jobs of an export in as dead ones, with what became of them
    #[arg(long)]
    as_dead: bool,
    /// The file; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
}

impl Import {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let text = read(&self.file)?;
        let now = ctx.now();
        let (zone, key) = (ctx.ui.look.zone, Key::of_surroundings());
        let (queue, is_for_dead) = (self.queue, self.as_dead);
        let reader = Reader { queue, cwd: cwd(None)?, now, zone, key, is_for_dead };
        if is_for_dead {
            return bury(ctx, &reader, (&self.file, &text));
        }
        // Every line is read before the first is queued, and again as it is: so nothing is half
        // done, and a million lines are never in memory as jobs.
        let mut queues = BTreeSet::new();
        for (n, line) in lines(&text) {
            queues.insert(reader.draft(line).map_err(|error| bad_line(&self.file, n, &error))?.queue);
        }
        if queues.is_empty() {
            if ctx.ui.format == Format::Json {
                ctx.ui.print(&json::imported("", 0, ""))?;
            }
            return Ok(Exit::Done);
        }
        let separator = if ctx.ui.format == Format::Json { ',' } else { '\n' };
        let store = ctx.store_or_create()?;
        let mut finisher = Finisher::new(now);
        for queue in &queues {
            finisher.learn(queue, store)?;
        }
        let mut jobs = lines(&text)
            .map(|(_, line)| finisher.finish(reader.draft(line).expect("the same line was read a moment ago")));
        let mut ids = Ids { text: String::new(), separator, ready: BTreeSet::new() };
        let (mut met, mut numbers) = (MetByLines::default(), lines(&text).map(|(n, _)| n));
        store.push_each(&mut jobs, now, &mut |pushed| {
            ids.add(&pushed);
            met.add(numbers.next().expect("an answer for each line"), &pushed);
        })?;
        let printed = match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::imported(&ids.text, met.n, &met.differing)),
            Format::Table | Format::Plain => ctx.ui.print(&ids.text),
        };
        // The jobs are queued, whether their ids could be told or not.
        ctx.announce(&ids.ready)?;
        printed?;
        met.explain(ctx);
        Ok(Exit::Done)
    }
}

/// Takes in dead jobs; each line is read twice, as above.
fn bury(ctx: &mut Ctx, reader: &Reader, (file, text): (&Path, &[u8])) -> Answer {
    let mut queues = BTreeSet::new();
    for (n, line) in lines(text) {
        queues.insert(reader.dead(line).map_err(|error| bad_line(file, n, &error))?.draft.queue);
    }
    let separator = if ctx.ui.format == Format::Json { ',' } else { '\n' };
    let mut ids = Ids { text: String::new(), separator, ready: BTreeSet::new() };
    let mut without_key: Vec<(usize, Buried)> = Vec::new();
    if !queues.is_empty() {
        let store = ctx.store_or_create()?;
        let mut finisher = Finisher::new(reader.now);
        for queue in &queues {
            finisher.learn(queue, store)?;
        }
        let mut letters = lines(text).map(|(_, line)| {
            let DeadDraft { draft, past, expires_at } = reader.dead(line).expect("it was read a moment ago");
            let mut job = finisher.finish(draft);
            job.expires_at = expires_at;
            Letter { job, past }
        });
        let mut numbers = lines(text).map(|(n, _)| n);
        store.bury_each(&mut letters, reader.now, &mut |buried| {
            ids.add_id(buried.id);
            let n = numbers.next().expect("an answer for each line");
            without_key.extend(buried.holder.map(|_| (n, buried)));
        })?;
    }
    let printed = match ctx.ui.format {
        Format::Json => ctx.ui.print(&json::imported(&ids.text, 0, "")),
        Format::Table | Format::Plain => ctx.ui.print(&ids.text),
    };
    if !queues.is_empty() {
        ctx.ring()?;
    }
    printed?;
    for (n, buried) in without_key.iter().take(MAX_TOLD) {
        let holder = buried.holder.map(|holder| holder.to_string()).unwrap_or_default();
        ctx.ui.say(format_args!("line {n}: job {} is without its key: job {holder} holds it", buried.id));
    }
    if without_key.len() > MAX_TOLD {
        ctx.ui.say(format_args!("{} more like these", words::count(without_key.len() - MAX_TOLD, "line")));
    }
    Ok(Exit::Done)
}

/// How many lines are told one by one whose key another job holds.
const MAX_TOLD: usize = 10;

/// The lines whose key was held, so that nothing was queued for them.
#[derive(Default)]
struct MetByLines {
    n: usize,
    /// Those whose holder is dead or cancelled, or has another command or payload: the first of them.
    told: Vec<(usize, Pushed)>,
    n_to_tell: usize,
    /// The numbers of those that have another command or payload, parted by commas.
    differing: String,
}

impl MetByLines {
    fn add(&mut self, line: usize, pushed: &Pushed) {
        let Some(met) = &pushed.met else { return };
        self.n += 1;
        if met.differs() {
            let comma = if self.differing.is_empty() { "" } else { "," };
            write!(self.differing, "{comma}{line}").expect("a string takes any text");
        }
        if met.differs() || pushed::is_idle(met) {
            self.n_to_tell += 1;
            if self.told.len() < MAX_TOLD {
                self.told.push((line, pushed.clone()));
            }
        }
    }

    fn explain(&self, ctx: &Ctx) {
        for (line, pushed) in &self.told {
            let had = pushed.met.as_deref().map(|met| pushed::had(met, ctx)).unwrap_or_default();
            ctx.ui.say(format_args!("line {line}: the key is held by job {}, which is {had}", pushed.id));
        }
        if self.n_to_tell > self.told.len() {
            ctx.ui.say(format_args!("{} more like these", words::count(self.n_to_tell - self.told.len(), "line")));
        }
        if self.n > 0 {
            ctx.ui.hint(format_args!("nothing was queued for {}: the key is held", words::count(self.n, "line")));
        }
    }
}

/// The ids as one text, and the queues in which something is ready: a million answers of the store would
/// be half of the memory.
struct Ids {
    text: String,
    separator: char,
    ready: BTreeSet<QueueName>,
}

impl Ids {
    fn add_id(&mut self, id: JobId) {
        if !self.text.is_empty() {
            self.text.push(self.separator);
        }
        write!(self.text, "{id}").expect("a string takes any text");
    }

    fn add(&mut self, pushed: &Pushed) {
        self.add_id(pushed.id);
        if let Some(queue) = pushed.ready_queue()
            && !self.ready.contains(queue)
        {
            self.ready.insert(queue.clone());
        }
    }
}

/// What each line describes, for one who stands in the root folder and tells times in UTC.
pub(super) fn drafts(text: &[u8], now: Timestamp) -> Vec<Result<Draft, String>> {
    let (queue, cwd) = (QueueName::default(), PathBuf::from("/"));
    let reader = Reader { queue, cwd, now, zone: || TimeZone::UTC, key: None, is_for_dead: false };
    lines(text).map(|(_, line)| reader.draft(line)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut text))
    };
    done.map_err(|error| Failure::usage(format!("{} could not be read: {error}", path.display())))?;
    Ok(text)
}

/// The lines that say something, with their numbers.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    lines.filter(|(_, line)| !line.is_empty() && line[0] != b'#').map(|(n, line)| (n + 1, line))
}

fn bad_line(file: &Path, n: usize, error: &str) -> Failure {
    let file = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    Failure::usage(format!("{file}, line {n}: {error}")).hint("nothing was queued; mend the line and import again")
}
