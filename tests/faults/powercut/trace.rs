//! What strace wrote down, read back: each call with its beginning and its end, in the order in which
//! strace saw them.
//!
//! strace stops a thread at the beginning of a call and again at its end. What it shows as ended before
//! something else began was therefore over by then; what merely overlapped counts as overlapping.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The calls that can change what is on a disk, that sync, or that say something. The rest is not seen.
pub(super) const CALLS: &str = "openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,\
    fallocate,copy_file_range,sendfile,fsync,fdatasync,sync,syncfs,sync_file_range,msync,rename,renameat,renameat2,\
    link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir";

/// A call that did what it was to do.
#[derive(Debug)]
pub(super) struct Call {
    /// The process, or the thread of it, that made the call.
    pub(super) pid: u32,
    pub(super) deed: Deed,
}

/// What a call did, as far as it matters here.
#[derive(Debug)]
pub(super) enum Deed {
    Write {
        path: PathBuf,
        offset: Option<usize>,
        bytes: Vec<u8>,
    },
    Resize {
        path: PathBuf,
        bytes: usize,
    },
    /// `is_real` is false where strace kept the call from being made.
    Sync {
        path: PathBuf,
        is_real: bool,
    },
    /// A file was opened, and made if it was not there.
    Open {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    /// Anything that is not modelled. It must not touch what is.
    Other {
        line: String,
    },
}

/// That a call began or ended, by its place among the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begin(usize),
    End(usize),
}

/// A recording.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) calls: Vec<Call>,
    pub(super) steps: Vec<Step>,
}

impl Trace {
    /// Reads what `strace -f -qq -y -xx -o` wrote.
    pub(super) fn read(text: &str) -> Self {
        let (texts, steps) = join(text);
        // What failed did nothing, and what never ended may have: a call that was cut off is kept.
        let calls: Vec<Option<Call>> = texts.iter().map(|(pid, text)| call(*pid, text)).collect();
        let mut trace = Self::default();
        let mut places = HashMap::new();
        for (old, call) in calls.into_iter().enumerate() {
            if let Some(call) = call {
                places.insert(old, trace.calls.len());
                trace.calls.push(call);
            }
        }
        trace.steps = steps
            .into_iter()
            .filter_map(|step| match step {
                Step::Begin(old) => places.get(&old).copied().map(Step::Begin),
                Step::End(old) => places.get(&old).copied().map(Step::End),
            })
            .collect();
        trace
    }
}

/// Joins the two halves of each call between whose beginning and end another thread did something.
fn join(text: &str) -> (Vec<(u32, String)>, Vec<Step>) {
    let mut calls: Vec<(u32, String)> = Vec::new();
    let mut steps = Vec::new();
    let mut open: HashMap<u32, usize> = HashMap::new();
    for line in text.lines() {
        let (pid, rest) = line.trim_start().split_once(' ').expect("a line begins with a process");
        let pid: u32 = pid.parse().expect("a process is a number");
        let rest = rest.trim_start();
        if rest.starts_with("---") || rest.starts_with("+++") {
            continue;
        }
        if rest.starts_with("<... ") {
            let (_, tail) = rest.split_once(" resumed>").expect("it says what is resumed");
            let n = open.remove(&pid).expect("what is resumed has begun");
            calls[n].1.push_str(tail);
            steps.push(Step::End(n));
            continue;
        }
        steps.push(Step::Begin(calls.len()));
        if let Some(head) = rest.strip_suffix("<unfinished ...>") {
            open.insert(pid, calls.len());
            calls.push((pid, head.trim_end().to_owned()));
        } else {
            steps.push(Step::End(calls.len()));
            calls.push((pid, rest.to_owned()));
        }
    }
    (calls, steps)
}

/// Reads one call; nothing, if it failed.
fn call(pid: u32, text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(').expect("a call has arguments");
    // No text of an argument holds a parenthesis: strings and paths are in hex.
    let (args, result) = rest.rsplit_once(')').filter(|_| rest.contains(" = ")).map_or((rest, ""), |_| {
        let (args, result) = rest.split_once(" = ").expect("it was just found");
        (args.trim_end().trim_end_matches(')'), result.trim())
    });
    if result.starts_with("-1 ") {
        return None;
    }
    let args: Vec<&str> = args.split(", ").collect();
    Some(Call { pid, deed: deed(name, &args, result).unwrap_or_else(|| Deed::Other { line: readable(text) }) })
}

fn deed(name: &str, args: &[&str], result: &str) -> Option<Deed> {
    Some(match name {
        "openat" if args[2].contains("O_TRUNC") => return None,
        "openat" => Deed::Open { path: path_of(args[1], args[0])? },
        "pwrite64" => Deed::Write {
            path: descriptor(args[0])?,
            offset: Some(args[3].parse().ok()?),
            bytes: written(quoted(args[1])?, result),
        },
        "write" => Deed::Write { path: descriptor(args[0])?, offset: None, bytes: written(quoted(args[1])?, result) },
        "ftruncate" => Deed::Resize { path: descriptor(args[0])?, bytes: args[1].parse().ok()? },
        "fsync" | "fdatasync" => Deed::Sync { path: descriptor(args[0])?, is_real: !result.contains("INJECTED") },
        "mkdir" => Deed::MakeFolder { path: quoted_path(args[0])? },
        "unlink" => Deed::Remove { path: quoted_path(args[0])? },
        _ => return None,
    })
}

/// As much as the call really wrote; all, where it never ended.
fn written(mut bytes: Vec<u8>, result: &str) -> Vec<u8> {
    if let Some(n) = result.split(' ').next().and_then(|n| n.parse().ok()) {
        bytes.truncate(n);
    }
    bytes
}

/// The path of a name that is given relative to a descriptor such as `AT_FDCWD<…>`.
fn path_of(name: &str, from: &str) -> Option<PathBuf> {
    Some(descriptor(from)?.join(quoted_path(name)?))
}

/// The path of a descriptor such as `4<…>`, as the kernel had it.
fn descriptor(arg: &str) -> Option<PathBuf> {
    let (_, path) = arg.split_once('<')?;
    Some(PathBuf::from(String::from_utf8(unhex(path.trim_end_matches(['>', ')']))).ok()?))
}

fn quoted_path(arg: &str) -> Option<PathBuf> {
    Some(PathBuf::from(String::from_utf8(quoted(arg)?).ok()?))
}

/// The bytes of a string. One that was cut short is not a string.
fn quoted(arg: &str) -> Option<Vec<u8>> {
    Some(unhex(arg.strip_prefix('"')?.strip_suffix('"')?))
}

/// The bytes of `\x61\x62`.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| if c >= b'a' { c - b'a' + 10 } else { c.wrapping_sub(b'0') };
    text.as_bytes().chunks_exact(4).map(|escape| digit(escape[2]) << 4 | digit(escape[3])).collect()
}

/// A call for people, and for a look at which paths it names: what was in hex in letters.
fn readable(text: &str) -> String {
    let mut pieces = text.split("\\x");
    let mut out = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (hex, rest) = piece.split_at(piece.len().min(2));
        out.extend(u8::from_str_radix(hex, 16));
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn a_call_that_another_one_interrupts_is_read_as_one_that_overlaps_it() {
    let trace = Trace::read(
        "7 pwrite64(3<\\x2f\\x61>, \"\\x68\\x69\", 2, 40 <unfinished ...>\n\
         8 fdatasync(4<\\x2f\\x61>) = 0\n\
         7 <... pwrite64 resumed>) = 2\n\
         8 fsync(4<\\x2f\\x61>) = 0 (INJECTED)\n\
         8 mkdir(\"\\x2f\\x61\", 0700) = -1 EEXIST (File exists)\n\
         8 renameat(4<\\x2f>, \"\\x61\", 4<\\x2f>, \"\\x62\") = 0\n",
    );
    assert!(
        matches!(&trace.calls[0].deed, Deed::Write { path, offset: Some(40), bytes } if path == Path::new("/a") && bytes == b"hi")
    );
    assert!(matches!(trace.calls[1].deed, Deed::Sync { is_real: true, .. }));
    assert!(matches!(trace.calls[2].deed, Deed::Sync { is_real: false, .. }));
    assert!(
        matches!(&trace.calls[3].deed, Deed::Other { line } if line.starts_with("renameat(") && line.contains("\"a\""))
    );
    use Step::{Begin, End};
    assert_eq!(trace.steps, [Begin(0), Begin(1), End(1), End(0), Begin(2), End(2), Begin(3), End(3)]);
}
