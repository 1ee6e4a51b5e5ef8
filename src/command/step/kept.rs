//! What a step prints, kept until it is put on record: in memory, and beyond a megabyte in a file.

use std::io;

use crate::exit::Failure;
use crate::job::{Lease, Printed, StepRun};
use crate::store::{Result, StepFile, Store};

/// As many bytes are kept in the queue itself: what is larger would make it slow for everyone else.
const IN_ROW: usize = 1024 * 1024;

/// What was printed so far.
pub(super) enum Kept {
    Bytes(Vec<u8>),
    File(StepFile),
    /// It could not be kept.
    Lost(String),
}

impl Kept {
    /// Adds to it. What goes wrong is told at the end: until then the command had better go on.
    pub(super) fn add(&mut self, bytes: &[u8], store: &mut dyn Store, (lease, run): (Lease, &StepRun)) {
        if let Self::Bytes(kept) = self
            && kept.len() + bytes.len() > IN_ROW
        {
            *self = spill(kept, store.step_file(lease, &run.key));
        }
        let added = match self {
            Self::Bytes(kept) => {
                kept.extend_from_slice(bytes);
                Ok(())
            }
            Self::File(file) => file.write(bytes),
            Self::Lost(_) => Ok(()),
        };
        if let Err(error) = added {
            *self = lost(&error);
        }
    }

    /// What is put on record.
    ///
    /// # Errors
    ///
    /// Where not all of it was kept.
    pub(super) fn printed(self, run: &StepRun) -> std::result::Result<Printed, Failure> {
        let sealed = match self {
            Self::Bytes(bytes) => return Ok(Printed::Bytes(bytes)),
            Self::File(file) => file.seal().map_err(|error| error.to_string()),
            Self::Lost(why) => Err(why),
        };
        sealed.map_err(|why| {
            Failure::new(
                crate::exit::Kind::Unknown,
                format!("step {} is done, and what it printed could not be kept: {why}", run.path),
            )
            .hint("the next attempt comes to it as to one that may have happened")
        })
    }
}

fn spill(kept: &[u8], file: Result<StepFile>) -> Kept {
    let mut file = match file {
        Ok(file) => file,
        Err(error) => return Kept::Lost(error.to_string()),
    };
    match file.write(kept) {
        Ok(()) => Kept::File(file),
        Err(error) => lost(&error),
    }
}

fn lost(error: &io::Error) -> Kept {
    Kept::Lost(error.to_string())
}
