//! How the other threads tell the supervisor something while it waits in `poll`.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use super::rescue::Rescued;
use crate::job::Lease;
use crate::store::{self, Standing, Turned};

/// Something the supervisor should know.
pub(super) enum News {
    /// A turn was taken.
    Turned(Turned),
    /// What this many turns settled, the first that were not durable yet, would now survive a power cut.
    Durable(usize),
    /// Someone else changed something.
    Changed,
    /// How held jobs stand.
    Standings(Vec<(Lease, Standing)>),
    /// Jobs of dead workers are back in the queue, or dead.
    Rescued(Vec<Rescued>),
    /// The queue file cannot be used for a moment.
    Trouble(String),
    /// The queue file can no longer be used.
    Fatal(store::Error),
}

/// The end that tells.
#[derive(Clone)]
pub(super) struct Teller {
    sender: Sender<News>,
    pipe: Arc<UnixStream>,
}

/// The end that is told.
pub(super) struct Inbox {
    receiver: Receiver<News>,
    pipe: UnixStream,
}

/// A line of news.
pub(super) fn line() -> io::Result<(Teller, Inbox)> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    writer.set_nonblocking(true)?;
    let (sender, receiver) = mpsc::channel();
    Ok((Teller { sender, pipe: Arc::new(writer) }, Inbox { receiver, pipe: reader }))
}

impl Teller {
    /// Tells; a supervisor that has gone is past telling.
    pub(super) fn tell(&self, news: News) {
        let _ = self.sender.send(news);
        // A full pipe wakes the supervisor as well as one more byte would.
        let _ = (&*self.pipe).write(&[1]);
    }
}

impl Inbox {
    /// What has come since the last call.
    pub(super) fn take(&mut self) -> Vec<News> {
        let mut buffer = [0; 256];
        while matches!(self.pipe.read(&mut buffer), Ok(1..)) {}
        self.receiver.try_iter().collect()
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
