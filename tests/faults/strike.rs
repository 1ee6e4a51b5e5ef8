//! Kills qctl at one chosen system call of all that it makes.
//!
//! `strace --inject=all:signal=SIGKILL:when=N` would do for a process of one thread. It counts for each
//! thread by itself, though, so that whichever gets to its Nth call first is the one that is killed: the
//! main thread of a worker always, its writer and its keeper hardly ever. And with `-f` it would kill the
//! jobs' commands too. So this is done by hand, by ptrace: one count runs over the calls of all threads, in
//! the order in which they are made, from the first after `exec` on, and over those that a child makes before
//! it becomes the job's command. From there on the child is let go of and runs untraced. At the Nth call
//! the whole of qctl is killed by SIGKILL *before* that call takes effect; so what is swept by all N is each
//! state that a kill can leave behind, up to the order in which threads happen to run.
//!
//! [`in_steps`] aims at the `qctl step` processes of the jobs instead: it goes on tracing what a worker starts,
//! counts the calls of these alone, and kills everyone at once, as when a container is torn down.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::Sandbox;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Struck {
    /// How many calls there were, the fatal one included.
    pub(crate) n_calls: usize,
    /// Who made the fatal call, by the name of the thread; `None`: qctl ended before that.
    pub(crate) who: Option<String>,
    /// What it wrote to stdout.
    pub(crate) out: String,
    /// What it wrote to stderr.
    pub(crate) err: String,
}

/// Whether a process may be traced here.
#[expect(clippy::print_stderr, reason = "what was passed over is said")]
pub(crate) fn may_trace() -> bool {
    let mut child = Sandbox::new().command("sleep").arg("60").spawn().expect("sleep starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"));
    let seized = ptrace::seize(pid, Options::empty());
    child.kill().and_then(|()| child.wait()).expect("it ends");
    if let Err(errno) = seized {
        eprintln!("passed over: no process can be traced here: {errno}");
    }
    seized.is_ok()
}

/// Runs qctl with this line of arguments to its end; its calls are counted.
pub(crate) fn count(queue: &Sandbox, line: &str) -> usize {
    let struck = at(queue, line, usize::MAX);
    assert!(struck.who.is_none(), "nobody makes so many");
    struck.n_calls
}

/// Runs qctl with this line of arguments and kills it at its `n`th call, counted from 1.
pub(crate) fn at(queue: &Sandbox, line: &str, n: usize) -> Struck {
    run(queue, line, (n, Aim::Qctl))
}

/// Runs qctl with this line of arguments and kills it, and all that runs under it, at the `n`th call of all
/// that steps make, counted from 1 at the first call after `exec`. A step's command is none of its calls.
pub(crate) fn in_steps(queue: &Sandbox, line: &str, n: usize) -> Struck {
    run(queue, line, (n, Aim::Steps))
}

/// Whose calls are counted, and who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// The process that is run, alone.
    Qctl,
    /// The steps of its jobs, and with them everyone.
    Steps,
}

fn run(queue: &Sandbox, line: &str, (n, aim): (usize, Aim)) -> Struck {
    let mut child = queue
        .command("/bin/sh")
        // Stopped until it is traced.
        .args(["-c", &format!("kill -STOP $$; exec qctl {line} >struck.out 2>struck.err")])
        .stdout(Stdio::null())
        .spawn()
        .expect("sh starts");
    let main = Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"));
    waitpid(main, Some(WaitPidFlag::WUNTRACED)).expect("it stops");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).expect("who started it may trace it");
    kill(main, Signal::SIGCONT).expect("it is there");
    let mut trace = Trace { main, n, aim, n_calls: 0, is_qctl: false, there: BTreeMap::new(), who: None };
    // Only the children and tracees of this very thread: other tests run beside.
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
        trace.hear(&status);
    }
    // Its remains were taken above.
    let _ = child.wait();
    let Trace { n_calls, who, .. } = trace;
    Struck { n_calls, who, out: queue.read("struck.out"), err: queue.read("struck.err") }
}

/// A run under way.
struct Trace {
    main: Pid,
    n: usize,
    aim: Aim,
    n_calls: usize,
    /// Whether the shell has become qctl.
    is_qctl: bool,
    /// Who is traced, has stopped before, and has not ended; with the step that it is, if it is one.
    there: BTreeMap<Pid, Option<String>>,
    who: Option<String>,
}

impl Trace {
    fn hear(&mut self, status: &WaitStatus) {
        let resumed = match *status {
            WaitStatus::PtraceSyscall(pid) => {
                self.note_call(pid);
                self.go_on(pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => {
                self.is_qctl |= pid == self.main;
                // It may be a step now, or one no more.
                self.there.remove(&pid);
                let is_command = self.aim == Aim::Qctl && pid != self.main;
                if is_command { ptrace::detach(pid, None) } else { self.go_on(pid, None) }
            }
            WaitStatus::PtraceEvent(pid, ..) => self.go_on(pid, None),
            WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                self.there.remove(&pid);
                Ok(())
            }
            _ => Ok(()),
        };
        // One that was killed meanwhile goes no further.
        assert!(matches!(resumed, Ok(()) | Err(Errno::ESRCH)), "{resumed:?}");
    }

    fn go_on(&mut self, pid: Pid, signal: Option<Signal>) -> nix::Result<()> {
        if self.aim == Aim::Qctl {
            return ptrace::syscall(pid, signal);
        }
        if self.who.is_some() {
            // It was just being started when all were killed.
            return kill(pid, Signal::SIGKILL);
        }
        match self.there.entry(pid).or_insert_with(|| step_in(pid)) {
            Some(_) => ptrace::syscall(pid, signal),
            None => ptrace::cont(pid, signal),
        }
    }

    fn note_call(&mut self, pid: Pid) {
        let is_entry = ptrace::syscall_info(pid).is_ok_and(|info| info.op == libc::PTRACE_SYSCALL_INFO_ENTRY);
        if !self.is_qctl || !is_entry || self.who.is_some() {
            return;
        }
        self.n_calls += 1;
        if self.n_calls == self.n {
            self.who = Some(match self.aim {
                Aim::Qctl => name(self.main, pid),
                Aim::Steps => self.there.get(&pid).cloned().flatten().unwrap_or_default(),
            });
            self.strike();
        }
    }

    fn strike(&self) {
        kill(self.main, Signal::SIGKILL).expect("it is there");
        if self.aim == Aim::Steps {
            for &pid in self.there.keys() {
                // Some have ended, which is not heard of yet.
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

/// The name of a thread, or that of a child which is not yet the command of a job.
fn name(main: Pid, pid: Pid) -> String {
    match std::fs::read_to_string(format!("/proc/{main}/task/{pid}/comm")) {
        Ok(name) if pid == main => format!("{} (main)", name.trim_end()),
        Ok(name) => name.trim_end().to_owned(),
        Err(_) => "a command's start".to_owned(),
    }
}

/// The step that a process is: `qctl step NAME`, or its child that has not become the command yet.
fn step_in(pid: Pid) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|&byte| byte == 0);
    let is_step = words.next() == Some(b"qctl") && words.next() == Some(b"step");
    words.next().filter(|_| is_step).map(|name| String::from_utf8_lossy(name).into_owned())
}

/// Up to `n` of the numbers from 1 to `last`, evenly spread from a place that chance draws.
pub(crate) fn spread(last: usize, n: usize, chance: &mut fastrand::Rng) -> BTreeSet<usize> {
    if n >= last {
        return (1..=last).collect();
    }
    let first = chance.usize(0..last);
    (0..n).map(|nth| (first + nth * last / n) % last + 1).collect()
}
