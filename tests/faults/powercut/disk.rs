//! A disk on which nothing is safe until it was synced.
//!
//! Files and folders are nodes. What is done to a node (bytes written, a length changed, a name given
//! or taken) is pending until that very node is synced. A power cut leaves of each node what was
//! settled and any part of what is pending, in any combination: later writes without earlier ones,
//! sectors of a write without its other sectors, lengths without contents, names without files and
//! files without names. That is more than a file system of today would do to anyone, and no less than
//! POSIX allows.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

use super::trace::{Deed, Trace};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a power cut left: folders as `None`, files with their bytes.
pub(super) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What becomes of something pending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Lost,
    Kept,
    /// Of a write: only these of its sectors. The file is as long as if all were there.
    Torn(Vec<bool>),
}

/// Whether syncs of a path come to nothing; it is also told whether there is a log already.
pub(super) type Deaf = fn(&Path, bool) -> bool;

/// How much is pending for each node, and what becomes of it, in the order in which it was done.
pub(super) type Fates = HashMap<usize, Vec<Fate>>;

/// The disk at one moment of a recording.
pub(super) struct Disk<'t> {
    trace: &'t Trace,
    root: PathBuf,
    nodes: Vec<Node<'t>>,
    /// Where everything is for those who look before the power cut.
    paths: HashMap<PathBuf, usize>,
    /// Calls under way that make something in a folder that is not there yet: another call makes it,
    /// which strace saw begin later.
    early: Vec<usize>,
    /// What calls under way do: the node and the number of the pending thing.
    under_way: HashMap<usize, (usize, usize)>,
    /// What syncs under way will have settled: the node and the numbers of the pending things.
    syncs: HashMap<usize, (usize, Vec<usize>)>,
    /// Where the last write to each node ended.
    ends: HashMap<usize, usize>,
    /// Which syncs come to nothing: those of this path, where there is a log already, or not yet.
    deaf: Deaf,
}

struct Node<'t> {
    settled: Content,
    /// Tells settled contents apart without a look at them.
    settled_key: u64,
    pending: Vec<Pending<'t>>,
}

enum Content {
    File(Vec<u8>),
    Folder(BTreeMap<OsString, usize>),
}

struct Pending<'t> {
    /// The call that did it.
    number: usize,
    is_over: bool,
    change: Change<'t>,
}

enum Change<'t> {
    Write { offset: usize, bytes: &'t [u8] },
    Resize(usize),
    Name(OsString, usize),
    Unname(OsString),
}

impl<'t> Disk<'t> {
    /// An empty disk that is mounted at `root`. Syncs of paths that `deaf` picks come to nothing.
    pub(super) fn new(trace: &'t Trace, root: &Path, deaf: Deaf) -> Self {
        let settled = Content::Folder(BTreeMap::new());
        Self {
            trace,
            root: root.to_owned(),
            nodes: vec![Node { settled, settled_key: 0, pending: Vec::new() }],
            paths: HashMap::from([(root.to_owned(), 0)]),
            early: Vec::new(),
            under_way: HashMap::new(),
            syncs: HashMap::new(),
            ends: HashMap::new(),
            deaf,
        }
    }

    /// Lets a call begin; answers whether that changes what a power cut may leave.
    pub(super) fn begin(&mut self, number: usize) -> bool {
        let trace = self.trace;
        match &trace.calls[number].deed {
            Deed::Open { path } if self.is_mine(path) && !self.paths.contains_key(path) => {
                self.make(number, path);
            }
            Deed::MakeFolder { path } if self.is_mine(path) => {
                self.make(number, path);
            }
            Deed::Remove { path } if self.is_mine(path) => {
                self.paths.remove(path).expect("what is removed is there");
                let (folder, name) = self.place(path);
                self.add(number, folder, Change::Unname(name));
            }
            Deed::Write { path, offset, bytes } if self.is_mine(path) => {
                let node = self.node(path);
                // A queue is written with pwrite; what is not is written once, from its beginning to its end.
                let offset = offset.unwrap_or_else(|| *self.ends.entry(node).or_insert(0));
                self.ends.insert(node, offset + bytes.len());
                self.add(number, node, Change::Write { offset, bytes });
            }
            Deed::Resize { path, bytes } if self.is_mine(path) => {
                self.add(number, self.node(path), Change::Resize(*bytes));
            }
            Deed::Sync { path, is_real } if self.is_mine(path) => {
                if *is_real && !(self.deaf)(path, self.has_log()) {
                    let node = self.node(path);
                    let over = self.nodes[node].pending.iter().filter(|pending| pending.is_over);
                    self.syncs.insert(number, (node, over.map(|pending| pending.number).collect()));
                }
                return false;
            }
            Deed::Other { line } => {
                let is_strange = line.contains(&*self.root.to_string_lossy())
                    && ["queue.db\"", "queue.db>", "-wal", "-journal", "-steps"].iter().any(|part| line.contains(part));
                assert!(!is_strange, "the model of the disk lacks this call: {line}");
                return false;
            }
            _ => return false,
        }
        true
    }

    /// Lets a call end; answers whether that changes what a power cut may leave.
    pub(super) fn end(&mut self, number: usize) -> bool {
        if let Some((node, number)) = self.under_way.remove(&number) {
            let pending = self.nodes[node].pending.iter_mut().find(|pending| pending.number == number);
            pending.expect("only what is over is settled").is_over = true;
        }
        let Some((node, settled)) = self.syncs.remove(&number) else { return false };
        let node = &mut self.nodes[node];
        let (done, pending) =
            std::mem::take(&mut node.pending).into_iter().partition(|pending| settled.contains(&pending.number));
        node.pending = pending;
        let done: Vec<Pending<'_>> = done;
        for pending in &done {
            node.settled.apply(&pending.change, &Fate::Kept);
            node.settled_key ^= key_of(pending.number, &Fate::Kept);
        }
        !done.is_empty()
    }

    fn make(&mut self, number: usize, path: &Path) {
        if !path.parent().is_some_and(|folder| self.paths.contains_key(folder)) {
            self.early.push(number);
            return;
        }
        let settled = match self.trace.calls[number].deed {
            Deed::MakeFolder { .. } => Content::Folder(BTreeMap::new()),
            _ => Content::File(Vec::new()),
        };
        let node = self.nodes.len();
        self.nodes.push(Node { settled, settled_key: 0, pending: Vec::new() });
        self.paths.insert(path.to_owned(), node);
        let (folder, name) = self.place(path);
        self.add(number, folder, Change::Name(name, node));
        for early in std::mem::take(&mut self.early) {
            self.begin(early);
        }
    }

    fn add(&mut self, number: usize, node: usize, change: Change<'t>) {
        self.nodes[node].pending.push(Pending { number, is_over: false, change });
        self.under_way.insert(number, (node, number));
    }

    fn place(&self, path: &Path) -> (usize, OsString) {
        (self.node(path.parent().expect("it lies in a folder")), path.file_name().expect("it has a name").to_owned())
    }

    fn node(&self, path: &Path) -> usize {
        *self.paths.get(path).unwrap_or_else(|| panic!("{} is not known to the model", path.display()))
    }

    fn has_log(&self) -> bool {
        self.paths.keys().any(|path| path.to_string_lossy().ends_with("-wal"))
    }

    /// Whether it is modelled. Nothing is lost with the index of the log, with locks and with bells.
    fn is_mine(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        path.starts_with(&self.root) && !["-shm", "-lock", "-wake"].iter().any(|part| text.contains(part))
    }

    /// How many things are pending for each node for which any are.
    pub(super) fn pending(&self) -> Vec<(usize, usize)> {
        let counts = self.nodes.iter().map(|node| node.pending.len()).enumerate();
        counts.filter(|&(_, n)| n > 0).collect()
    }

    /// How many sectors something pending touches; none, if it is no write.
    pub(super) fn sectors(&self, node: usize, nth: usize) -> usize {
        match self.nodes[node].pending[nth].change {
            Change::Write { offset, bytes } => (offset + bytes.len()).div_ceil(SECTOR) - offset / SECTOR,
            Change::Resize(_) | Change::Name(..) | Change::Unname(_) => 0,
        }
    }

    /// Tells what a power cut would leave apart from what another would. Where everything pending shares
    /// one fate, `fates` may leave it out for `rest`.
    pub(super) fn key(&self, fates: &Fates, rest: &Fate) -> u64 {
        let mut key = 0;
        self.walk(fates, rest, &mut |path, node, fates| {
            let own = node.pending.iter().zip(fates).map(|(pending, fate)| key_of(pending.number, fate));
            let content = own.fold(node.settled_key, |key, own| key ^ own);
            let content = if matches!(node.settled, Content::File(_)) { content } else { 0 };
            key ^= hash(&(path, content));
        });
        key
    }

    /// What a power cut leaves.
    pub(super) fn image(&self, fates: &Fates, rest: &Fate) -> Image {
        let mut image = Image::new();
        self.walk(fates, rest, &mut |path, node, fates| {
            let bytes = match &node.settled {
                Content::Folder(_) => None,
                Content::File(settled) => {
                    let mut content = Content::File(settled.clone());
                    node.apply(&mut content, fates);
                    let Content::File(bytes) = content else { unreachable!("a file stays one") };
                    Some(bytes)
                }
            };
            image.insert(path.to_owned(), bytes);
        });
        image
    }

    /// Visits everything that still has a name, with its fates.
    fn walk(&self, fates: &Fates, rest: &Fate, visit: &mut dyn FnMut(&Path, &Node<'_>, &[Fate])) {
        let mut todo = vec![(PathBuf::new(), 0)];
        while let Some((path, number)) = todo.pop() {
            let node = &self.nodes[number];
            let all_alike;
            let own = match fates.get(&number) {
                Some(own) => own,
                None => {
                    all_alike = vec![rest.clone(); node.pending.len()];
                    &all_alike
                }
            };
            visit(&path, node, own);
            if let Content::Folder(names) = &node.settled {
                let mut content = Content::Folder(names.clone());
                node.apply(&mut content, own);
                let Content::Folder(names) = content else { unreachable!("a folder stays one") };
                todo.extend(names.into_iter().map(|(name, node)| (path.join(name), node)));
            }
        }
    }
}

impl Node<'_> {
    fn apply(&self, content: &mut Content, fates: &[Fate]) {
        for (pending, fate) in self.pending.iter().zip(fates) {
            content.apply(&pending.change, fate);
        }
    }
}

impl Content {
    fn apply(&mut self, change: &Change<'_>, fate: &Fate) {
        match (self, change, fate) {
            (_, _, Fate::Lost) => (),
            (Self::File(file), &Change::Write { offset, bytes }, fate) => {
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                let mut start = offset;
                let mut nth = 0;
                while start < end {
                    let stop = end.min((start / SECTOR + 1) * SECTOR);
                    if !matches!(fate, Fate::Torn(kept) if !kept[nth]) {
                        file[start..stop].copy_from_slice(&bytes[start - offset..stop - offset]);
                    }
                    (start, nth) = (stop, nth + 1);
                }
            }
            (Self::File(file), Change::Resize(bytes), _) => file.resize(*bytes, 0),
            (Self::Folder(names), Change::Name(name, node), _) => {
                names.insert(name.clone(), *node);
            }
            (Self::Folder(names), Change::Unname(name), _) => {
                names.remove(name);
            }
            (Self::File(_), Change::Name(..) | Change::Unname(_), _)
            | (Self::Folder(_), Change::Write { .. } | Change::Resize(_), _) => {
                unreachable!("folders have names, files have bytes")
            }
        }
    }
}

fn key_of(number: usize, fate: &Fate) -> u64 {
    match fate {
        Fate::Lost => 0,
        Fate::Kept | Fate::Torn(_) => hash(&(number, fate)),
    }
}

fn hash(what: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The bytes of `f` after a power cut, where everything pending shares this fate.
#[cfg(test)]
fn left(disk: &Disk<'_>, fate: &Fate) -> Option<Vec<u8>> {
    disk.image(&Fates::new(), fate).remove(Path::new("f")).flatten()
}

#[test]
fn only_what_was_over_when_a_sync_began_is_safe_and_a_name_only_by_its_folder() {
    let hex = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let (root, file) = (hex("/d"), hex("/d/f"));
    let trace = Trace::read(&format!(
        "1 openat(AT_FDCWD<{root}>, \"{file}\", O_RDWR|O_CREAT, 0600) = 3<{file}>\n\
         1 pwrite64(3<{file}>, \"\\x61\", 1, 0) = 1\n\
         1 pwrite64(3<{file}>, \"\\x62\", 1, 1 <unfinished ...>\n\
         2 fsync(3<{file}>) = 0\n\
         1 <... pwrite64 resumed>) = 1\n\
         2 fsync(4<{root}>) = 0\n"
    ));
    let mut disk = Disk::new(&trace, Path::new("/d"), |_, _| false);
    let mut seen = Vec::new();
    for step in &trace.steps {
        match *step {
            super::trace::Step::Begin(n) => disk.begin(n),
            super::trace::Step::End(n) => disk.end(n),
        };
        seen.push((left(&disk, &Fate::Lost), left(&disk, &Fate::Kept)));
    }
    assert_eq!(seen[7], (None, Some(b"ab".to_vec())));
    assert_eq!(seen.last(), Some(&(Some(b"a".to_vec()), Some(b"ab".to_vec()))));
    let torn = disk.image(&Fates::from([(1, vec![Fate::Torn(vec![false])])]), &Fate::Lost);
    assert_eq!(torn[Path::new("f")], Some(b"a\0".to_vec()));
}
