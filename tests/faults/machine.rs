//! Faults of the machine: full and failing disks, limits, clocks, restarts, and files that are moved,
//! replaced or damaged under a running worker.

mod clock;
mod disk;
mod files;
mod limit;
mod trace;

use crate::support::{Output, Running, Sandbox, is_possible};

/// A file system of its own at `disk` in a folder, seen only by what is started in it; the queue file is
/// on it. It goes away with the last process that sees it.
#[derive(Debug)]
struct Disk {
    queue: Sandbox,
    holder: Running,
}

impl Disk {
    /// A disk that this script mounts at `disk`; `None` where that is not permitted.
    fn mounted(mount: &str) -> Option<Self> {
        if !is_possible("unshare -m mount -t tmpfs none /mnt") {
            return None;
        }
        let queue = Sandbox::new();
        let script = format!("mkdir -m 700 disk; {mount}; chmod 700 disk; touch mounted; exec sleep 1000");
        let holder = queue.start_sh(&format!("exec unshare -m sh -ec {}", quoted(&script)));
        queue.wait_until("the disk is there", || queue.path("mounted").exists());
        Some(Self { queue, holder })
    }

    /// One in memory, of this size.
    fn of(size: &str) -> Option<Self> {
        Self::mounted(&format!("mount -t tmpfs -o size={size} none disk"))
    }

    /// The words that run a script where the disk is seen.
    fn inside(&self, script: &str) -> String {
        let folder = self.queue.path(".");
        let script = format!("cd {} && export QCTL_DB=$PWD/disk/queue.db && {script}", folder.display());
        format!("exec nsenter -t {} -m sh -c {}", self.holder.pid(), quoted(&script))
    }

    fn sh(&self, script: &str) -> Output {
        self.queue.sh(&self.inside(script))
    }

    fn qctl(&self, line: &str) -> Output {
        self.sh(&format!("exec qctl {line}"))
    }

    fn start(&self, script: &str) -> Running {
        self.queue.start_sh(&self.inside(script))
    }

    /// Leaves not a byte free.
    fn fill(&self) {
        self.sh("dd if=/dev/zero of=disk/rest bs=4k conv=notrunc oflag=append 2>/dev/null; true").succeeds();
    }

    fn make_room(&self) {
        self.sh("rm disk/rest").succeeds();
    }

    fn state(&self, id: i64) -> String {
        let document = self.qctl(&format!("show {id} --json")).succeeds().json();
        document["job"]["state"].as_str().expect("a state").to_owned()
    }

    #[track_caller]
    fn wait_for_state(&self, id: i64, state: &str) {
        self.queue.wait_until(&format!("job {id} is {state}"), || self.state(id) == state);
    }
}

fn quoted(script: &str) -> String {
    shlex::try_quote(script).expect("no NUL").into_owned()
}

/// Tells what a test did, for whoever reads the figures.
#[expect(clippy::print_stdout, reason = "the figures of a run are read by people")]
fn tell(figures: &str) {
    println!("faults: {figures}");
}
