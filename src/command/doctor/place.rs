//! What is wrong with the files of a queue and with where they lie. Judged from given facts; nothing
//! here touches a file.

use std::path::{Path, PathBuf};

use super::typed;
use crate::render::{Finding, words};
use crate::store::{Part, Place, Reach, Stray};

/// The code for a file that is damaged inside.
pub(super) const DAMAGE: &str = "damage";

/// The code for a schema that is not as it should be.
pub(super) const SCHEMA: &str = "schema";

/// The code for a file system that is as good as full.
pub(super) const SPACE: &str = "space";

/// The codes of what can keep a queue from being opened.
pub(super) const SHUTS_OUT: &[&str] = &["link", "owner", "mode", "read_only", "folder"];

/// A log of more bytes is not folded back as it should be. Workers fold it from 4 MiB on and leave a
/// file of up to 32 MiB standing.
const LARGE_LOG: u64 = 64 << 20;

/// Fewer free bytes are soon used up: by the log, which one slow reader lets grow, and by output.
const LITTLE_SPACE: u64 = 64 << 20;

/// A larger file wants this part of its size, because it grows faster.
const LITTLE_SPACE_PART: u64 = 10;

/// What is wrong with the parts of a queue as they lie there; the file comes first and its folder
/// last.
pub(super) fn parts(parts: &[Part]) -> Vec<Finding> {
    let Some((folder, files)) = parts.split_last() else { return Vec::new() };
    let Some(file) = files.first() else { return Vec::new() };
    let (links, files): (Vec<&Part>, Vec<&Part>) = files.iter().partition(|part| part.is_link);
    let (own, foreign): (Vec<&Part>, Vec<&Part>) = files.iter().partition(|part| part.owner == file.owner);
    // The queue file itself as a link is refused like any file that is no queue.
    let links: Vec<&Part> = links.into_iter().filter(|link| link.path != file.path).collect();
    let is_complete = files.len() == N_FILES;
    let found = [
        linked(&links),
        owned(&foreign, file.owner),
        read_only(&own),
        denied(&own),
        closed_folder(folder, file.owner, is_complete),
        foreign_folder(folder, file.owner),
        writable(files.iter().copied().chain([folder])),
    ];
    found.into_iter().flatten().collect()
}

/// How many files a queue has, its folder of bells among them.
const N_FILES: usize = 5;

fn linked(links: &[&Part]) -> Option<Finding> {
    let verb = if links.len() == 1 { "is a symbolic link" } else { "are symbolic links" };
    let message = format!("{} {verb}, and those are not followed", names(links)?);
    Some(Finding::new("link", message, "stop the workers, then put in its place what it points to"))
}

/// The classic damage of one `sudo`: whoever first needed these files was somebody else.
fn owned(foreign: &[&Part], owner: u32) -> Option<Finding> {
    let whose: Vec<String> =
        foreign.iter().map(|part| format!("{} belongs to user {}", name(part), part.owner)).collect();
    let files = paths(foreign)?;
    let message = format!("{}; the queue belongs to user {owner}", whose.join(", "));
    Some(Finding::new("owner", message, format!("sudo chown {owner} {files}")))
}

fn read_only(own: &[&Part]) -> Option<Finding> {
    let parts: Vec<&Part> = own.iter().copied().filter(|part| part.reach == Reach::ReadOnly).collect();
    let message = format!("the file system of {} is mounted for reading only", names(&parts)?);
    Some(Finding::new("read_only", message, "mount it for writing; after a disk error, look at `dmesg` first"))
}

fn denied(own: &[&Part]) -> Option<Finding> {
    let parts: Vec<&Part> = own.iter().copied().filter(|part| part.reach == Reach::Denied).collect();
    let files = paths(&parts)?;
    let modes: Vec<String> = parts.iter().map(|part| format!("{} (mode {:04o})", name(part), part.mode)).collect();
    let message = format!("you may not both read and write {}", modes.join(", "));
    Some(Finding::new("mode", message, format!("chmod u+rwX {files}")))
}

/// A folder in which nothing can be made does no harm once everything is there.
fn closed_folder(folder: &Part, owner: u32, is_complete: bool) -> Option<Finding> {
    if folder.reach != Reach::Denied || is_complete {
        return None;
    }
    let path = typed([folder.path.as_path()]);
    let message = format!("you may not make files in the folder {path}, where those beside the queue must be");
    let cure = if folder.owner == owner { format!("chmod u+rwx {path}") } else { format!("sudo chown {owner} {path}") };
    Some(Finding::new("folder", message, cure))
}

/// Who owns a folder can put other files in the place of those in it. Root can do so anyway.
fn foreign_folder(folder: &Part, owner: u32) -> Option<Finding> {
    if [owner, 0].contains(&folder.owner) {
        return None;
    }
    let path = typed([folder.path.as_path()]);
    let message = format!(
        "the folder {} belongs to user {}, who can put another queue in the place of that of user {owner}",
        name(folder),
        folder.owner
    );
    let cure =
        format!("keep the queue in a folder of user {owner}, or make this one theirs: sudo chown {owner} {path}");
    Some(Finding::new("folder_owner", message, cure))
}

/// Whoever writes these files, or puts others in their place, runs commands as the worker.
fn writable<'p>(parts: impl Iterator<Item = &'p Part>) -> Option<Finding> {
    let open: Vec<&Part> = parts.filter(|part| part.is_writable_by_others()).collect();
    let files = paths(&open)?;
    let modes: Vec<String> = open.iter().map(|part| format!("{} (mode {:04o})", name(part), part.mode)).collect();
    let message = format!("others may write {}, and so run commands as the worker", modes.join(", "));
    Some(Finding::new("writable", message, format!("chmod go-w {files}")))
}

/// What SQLite found wrong inside the file, as one finding: it has one cure.
pub(super) fn damage(path: &Path, lines: &[String]) -> Vec<Finding> {
    let Some(first) = lines.first() else { return Vec::new() };
    // SQLite heads its findings with a line of its own.
    let first = first.trim_start_matches("*** in database main ***").trim().replace('\n', "; ");
    let rest = if lines.len() > 1 { format!(", and {} more", lines.len() - 1) } else { String::new() };
    let message = format!("{} is damaged: {first}{rest}", path.display());
    let (file, new) = (typed([path]), typed([beside(path, ".recovered").as_path()]));
    let cure = format!(
        "stop the workers, then bring back a backup, or recover what can be read with the \
         sqlite3 of sqlite.org (those of some systems cannot): sqlite3 {file} .recover | sqlite3 {new}"
    );
    vec![Finding::new(DAMAGE, message, cure)]
}

/// What somebody changed in the schema.
pub(super) fn strays(path: &Path, strays: &[Stray]) -> Vec<Finding> {
    let one = |stray: &Stray| {
        let cure = match &stray.cure {
            Some(statement) => sqlite3(path, statement),
            None => "bring back a backup, or undo what was done to the file".to_owned(),
        };
        Finding::new(SCHEMA, format!("in {}, {}", path.display(), stray.what), cure)
    };
    strays.iter().map(one).collect()
}

/// What is wrong with the file as a whole and the place where it lies.
pub(super) fn file(place: &Place, has_worker: bool, qctl: &str) -> Vec<Finding> {
    [journal(place), mounted(place), log(place, has_worker, qctl)].into_iter().flatten().collect()
}

fn journal(place: &Place) -> Option<Finding> {
    let cure = sqlite3(&place.path, place.journal_cure.as_ref()?);
    let message = format!(
        "{} is kept with the journal mode {:?}, not with a write-ahead log",
        place.path.display(),
        place.journal
    );
    Some(Finding::new("journal", message, format!("stop the workers, then {cure}")))
}

fn mounted(place: &Place) -> Option<Finding> {
    if !place.is_mount_point {
        return None;
    }
    let message = format!(
        "{} is mounted by itself: the log beside it is not the one that those outside of the mount \
         see, and the queue will be damaged",
        place.path.display()
    );
    Some(Finding::new("mount", message, "stop the workers, then mount the folder that the file is in, not the file"))
}

fn log(place: &Place, has_worker: bool, qctl: &str) -> Option<Finding> {
    if place.wal_bytes <= LARGE_LOG {
        return None;
    }
    let file = &place.path;
    let message = format!("the log {} has grown to {}", beside(file, "-wal").display(), words::bytes(place.wal_bytes));
    let who = format!("a program that has the file open for long is in the way: fuser -v {}", typed([file.as_path()]));
    let cure = if has_worker { who } else { format!("{qctl} work --drain  (folds it back), or else {who}") };
    Some(Finding::new("log", message, cure))
}

/// Whether the file system has too little room for the queue of these parts.
pub(super) fn space(parts: &[Part], free_bytes: u64) -> Option<Finding> {
    let file = parts.first()?;
    if free_bytes >= LITTLE_SPACE.max(file.bytes / LITTLE_SPACE_PART) {
        return None;
    }
    let (free, has) = (words::bytes(free_bytes), words::bytes(file.bytes));
    let message = format!("only {free} are free for {}, which has {has}", name(file));
    Some(Finding::new(SPACE, message, "make room there, or forget finished jobs: qctl prune"))
}

fn sqlite3(path: &Path, statement: &str) -> String {
    let words = ["sqlite3".as_ref(), path, statement.as_ref()];
    typed(words)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn name(part: &Part) -> String {
    part.path.display().to_string()
}

/// The names of some parts; `None` of none.
fn names(parts: &[&Part]) -> Option<String> {
    let names: Vec<String> = parts.iter().map(|part| name(part)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Some parts as they would be typed; `None` of none.
fn paths(parts: &[&Part]) -> Option<String> {
    (!parts.is_empty()).then(|| typed(parts.iter().map(|part| part.path.as_path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> Part {
        let mode = if name.contains('.') { 0o600 } else { 0o700 };
        Part {
            path: format!("/q/{name}").into(),
            bytes: 0,
            owner: 1000,
            group: 1000,
            mode,
            is_link: false,
            reach: Reach::Full,
        }
    }

    /// A whole queue of user 1000, in order.
    fn whole() -> Vec<Part> {
        ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db-lock", "queue.db-wake", ""].map(part).to_vec()
    }

    fn codes(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.code).collect()
    }

    /// What is found once `change` was made to the part at `nth` of a whole queue.
    fn after(nth: usize, change: impl Fn(&mut Part)) -> Vec<&'static str> {
        let mut all = whole();
        change(&mut all[nth]);
        codes(&parts(&all))
    }

    fn sound() -> Place {
        Place {
            path: "/q/queue.db".into(),
            bytes: 1 << 20,
            wal_bytes: 0,
            file_system: "ext4".to_owned(),
            owner: 1000,
            is_mount_point: false,
            schema: 2,
            journal: "wal".to_owned(),
            journal_cure: None,
        }
    }

    #[test]
    fn nothing_is_wrong_with_what_is_whole_or_not_there() {
        assert_eq!(parts(&whole()), []);
        assert_eq!(parts(&[]), []);
        assert_eq!(file(&sound(), true, "qctl"), []);
    }

    #[test]
    fn a_group_of_ones_own_may_write_and_no_other() {
        assert_eq!(after(5, |folder| folder.mode = 0o770), [""; 0]);
        assert_eq!(after(5, |folder| (folder.mode, folder.group) = (0o770, 100)), ["writable"]);
        assert_eq!(after(5, |folder| folder.mode = 0o1777), ["writable"], "others may make files beside the queue");
        assert_eq!(after(1, |log| log.mode = 0o602), ["writable"]);
        assert_eq!(after(1, |log| log.mode = 0o644), [""; 0], "to read is no harm to the queue");
    }

    #[test]
    fn a_folder_of_root_is_as_good_as_ones_own() {
        assert_eq!(after(5, |folder| folder.owner = 0), [""; 0]);
        assert_eq!(after(5, |folder| folder.owner = 7), ["folder_owner"]);
    }

    #[test]
    fn a_closed_folder_matters_while_a_file_is_missing() {
        let close = |folder: &mut Part| (folder.owner, folder.reach) = (0, Reach::Denied);
        assert_eq!(after(5, close), [""; 0]);
        let mut all = whole();
        all.remove(2);
        close(&mut all[4]);
        assert_eq!(codes(&parts(&all)), ["folder"]);
    }

    #[test]
    fn what_may_not_be_written_says_whether_that_is_its_mode() {
        assert_eq!(after(0, |file| file.reach = Reach::Denied), ["mode"]);
        assert_eq!(after(0, |file| file.reach = Reach::ReadOnly), ["read_only"]);
        assert_eq!(after(3, |lock| (lock.owner, lock.reach) = (0, Reach::Denied)), ["owner"], "one cure is enough");
        assert_eq!(after(0, |file| file.is_link = true), [""; 0], "that is refused as no queue");
    }

    #[test]
    fn paths_in_cures_are_quoted() {
        let mut all = whole();
        all[1].path = "/my queues/q.db-wal".into();
        all[1].owner = 0;
        assert_eq!(parts(&all)[0].hint, "sudo chown 1000 '/my queues/q.db-wal'");
    }

    #[test]
    fn a_file_that_is_mounted_by_itself_is_found() {
        let place = Place { is_mount_point: true, ..sound() };
        assert_eq!(codes(&file(&place, true, "qctl")), ["mount"]);
    }

    #[test]
    fn space_is_little_below_64_mib_or_a_tenth_of_the_file() {
        let found = |bytes, free_bytes| {
            let parts = [Part { bytes, ..part("queue.db") }, part("")];
            space(&parts, free_bytes).map(|finding| finding.code)
        };
        assert_eq!(found(0, 64 << 20), None);
        assert_eq!(found(0, (64 << 20) - 1), Some("space"));
        assert_eq!(found(10 << 30, 1 << 30), None);
        assert_eq!(found(10 << 30, (1 << 30) - 1), Some("space"));
    }

    #[test]
    fn a_log_that_no_worker_folds_back_is_a_workers_to_fold_back() {
        let place = Place { wal_bytes: 65 << 20, ..sound() };
        assert!(file(&place, false, "qctl")[0].hint.starts_with("qctl work --drain"));
        assert!(!file(&place, true, "qctl")[0].hint.contains("work"));
    }

    #[test]
    fn damage_is_one_finding_however_many_lines_it_has() {
        let lines = ["*** in database main ***\nTree 8 page 23: bad".to_owned(), "row 1 missing".to_owned()];
        let findings = damage(Path::new("/q/queue.db"), &lines);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].message, "/q/queue.db is damaged: Tree 8 page 23: bad, and 1 more");
        assert_eq!(damage(Path::new("/q/queue.db"), &[]), []);
    }
}
