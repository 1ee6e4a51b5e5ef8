//! `qctl import`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::draft::{Draft, Finisher};
use super::job_options::{cwd, set_variables};
use super::key::Key;
use super::{Answer, Ctx, pushed, value};
use crate::clock::Timestamp;
use crate::exit::{Exit, Failure};
use crate::job::{Command, Due, QueueName};
use crate::render::{json, words};
use crate::store::Pushed;
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
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Keys of a job as JSON: command (an array), or shell (a line); queue, payload or payload_base64,
key, priority, delay, at, max_attempts, backoff, timeout, labels, env, cwd. A key is as for push --key:
auto is one that is made from the job. Where it is held, the id is that of the job that holds it.

Examples:
  qctl import jobs.txt
  find . -name '*.mov' -printf 'convert %p\\n' | qctl import -
  echo '{\"command\":[\"./send.sh\",\"17\"],\"queue\":\"mail\",\"key\":\"inv-17\"}' | qctl import")]
pub(crate) struct Import {
    /// Queue of the lines that name none
    #[arg(short = 'Q', long, value_name = "NAME", default_value_t, value_parser = value::queue)]
    queue: QueueName,
    /// The file; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
}

/// A job as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    command: Option<Vec<String>>,
    shell: Option<String>,
    queue: Option<String>,
    payload: Option<String>,
    payload_base64: Option<String>,
    key: Option<String>,
    priority: Option<i32>,
    delay: Option<String>,
    at: Option<String>,
    max_attempts: Option<u32>,
    backoff: Option<String>,
    timeout: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
}

/// What a line may rely on.
struct Reader {
    queue: QueueName,
    cwd: PathBuf,
    now: Timestamp,
    zone: fn() -> TimeZone,
    /// The key of the lines that name none.
    key: Option<Key>,
}

impl Import {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let text = read(&self.file)?;
        let now = ctx.now();
        let reader =
            Reader { queue: self.queue, cwd: cwd(None)?, now, zone: ctx.ui.look.zone, key: Key::of_surroundings() };
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
    fn add(&mut self, pushed: &Pushed) {
        if !self.text.is_empty() {
            self.text.push(self.separator);
        }
        write!(self.text, "{}", pushed.id).expect("a string takes any text");
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
    let reader = Reader { queue, cwd, now, zone: || TimeZone::UTC, key: None };
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

impl Reader {
    fn draft(&self, line: &[u8]) -> Result<Draft, String> {
        if line.contains(&0) {
            return Err("a command holds no NUL".to_owned());
        }
        if line[0] == b'{' {
            let record: Record = serde_json::from_slice(line).map_err(|error| plain_words(&error))?;
            self.draft_of(record)
        } else {
            let mut draft = Draft::new(self.queue.clone(), Some(Command::Shell(line.to_vec())), self.cwd.clone());
            draft.key.clone_from(&self.key);
            Ok(draft)
        }
    }

    fn draft_of(&self, record: Record) -> Result<Draft, String> {
        let queue = record.queue.as_deref().map(value::queue).transpose()?;
        let cwd = record.cwd.as_deref().map(|given| cwd(Some(given)).map_err(|failure| failure.message)).transpose()?;
        let command = command(record.command, record.shell)?;
        let mut draft =
            Draft::new(queue.unwrap_or_else(|| self.queue.clone()), command, cwd.unwrap_or_else(|| self.cwd.clone()));
        draft.payload = payload(record.payload, record.payload_base64)?;
        if draft.command.is_none() && draft.payload.is_none() {
            return Err("there is nothing to run: give command, shell or payload".to_owned());
        }
        draft.key = record.key.as_deref().map(value::key).transpose()?.or_else(|| self.key.clone());
        draft.due = self.due(record.delay.as_deref(), record.at.as_deref())?;
        draft.env = set_variables(record.env)?;
        let label = |(name, text): (String, String)| value::label(&format!("{name}={text}"));
        draft.labels = record.labels.into_iter().map(label).collect::<Result<_, _>>()?;
        draft.own.priority = within(record.priority, -100, 100, "priority")?;
        draft.own.max_attempts = within(record.max_attempts, 1, 1000, "max_attempts")?;
        draft.own.backoff = record.backoff.as_deref().map(value::backoff).transpose()?;
        draft.own.timeout = record.timeout.as_deref().map(value::positive_or_none).transpose()?.map(|limit| limit.0);
        Ok(draft)
    }

    fn due(&self, delay: Option<&str>, at: Option<&str>) -> Result<Due, String> {
        match (delay, at) {
            (None, None) => Ok(Due::Now),
            (Some(delay), None) => Ok(Due::At(self.now.plus(value::duration(delay)?))),
            (None, Some(at)) => value::instant(at, self.now, &(self.zone)()).map(Due::At),
            (Some(_), Some(_)) => Err("delay and at exclude each other".to_owned()),
        }
    }
}

fn command(vector: Option<Vec<String>>, line: Option<String>) -> Result<Option<Command>, String> {
    let command = match (vector, line) {
        (None, None) => None,
        (Some(words), None) => Some(Command::Program(words.into_iter().map(String::into_bytes).collect())),
        (None, Some(line)) => Some(Command::Shell(line.into_bytes())),
        (Some(_), Some(_)) => return Err("command and shell exclude each other".to_owned()),
    };
    let is_bad = match &command {
        Some(Command::Program(words)) => {
            words.first().is_none_or(Vec::is_empty) || words.iter().any(|word| word.contains(&0))
        }
        Some(Command::Shell(line)) => line.trim_ascii().is_empty() || line.contains(&0),
        None => false,
    };
    if is_bad { Err("the command is empty, or holds a NUL".to_owned()) } else { Ok(command) }
}

fn payload(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(base64)) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(base64);
            bytes.map(Some).map_err(|error| format!("payload_base64: {error}"))
        }
        (Some(_), Some(_)) => Err("payload and payload_base64 exclude each other".to_owned()),
    }
}

fn within<N: PartialOrd + std::fmt::Display>(n: Option<N>, least: N, most: N, name: &str) -> Result<Option<N>, String> {
    match n {
        Some(n) if n < least || n > most => Err(format!("{name} is from {least} to {most}, not {n}")),
        n => Ok(n),
    }
}

/// A JSON error without its position, which is that in the one line and would be taken for the
/// file's.
fn plain_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or_default();
    format!("{words} (column {})", error.column())
}
