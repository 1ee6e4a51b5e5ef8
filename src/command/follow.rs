//! Passing on the output of an attempt, also while it runs.

use std::time::Duration;

use super::Ctx;
use crate::exit::Failure;
use crate::job::{JobId, State, Stream, Token};
use crate::render::{json, words};
use crate::ui::Format;

/// How soon what a running attempt printed is looked for again.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// How far the streams of one attempt have been passed on.
pub(super) struct Following {
    job: JobId,
    pub(super) token: Token,
    streams: Vec<Stream>,
    passed_on: [u64; 2],
}

impl Following {
    /// From the beginning.
    pub(super) fn new(job: JobId, token: Token, streams: &[Stream]) -> Self {
        Self { job, token, streams: streams.to_vec(), passed_on: [0; 2] }
    }

    /// Passes on what there is by now, as it is or as JSON Lines.
    pub(super) fn catch_up(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        for &stream in &self.streams {
            let passed_on = &mut self.passed_on[stream as usize];
            for chunk in ctx.store()?.output(self.job, self.token, stream, *passed_on)? {
                if ctx.ui.format == Format::Json {
                    ctx.ui.print(&json::chunk(self.job, self.token, &chunk))?;
                    *passed_on = chunk.end();
                    continue;
                }
                if chunk.offset > *passed_on {
                    let gap = words::bytes(chunk.offset - *passed_on);
                    ctx.ui.say(format_args!("qctl: here {gap} of {} were not kept", stream.name()));
                }
                match stream {
                    Stream::Stdout => ctx.ui.raw(&chunk.bytes)?,
                    Stream::Stderr => ctx.ui.raw_stderr(&chunk.bytes)?,
                }
                *passed_on = chunk.end();
            }
        }
        Ok(())
    }

    /// Whether the attempt still runs.
    pub(super) fn is_running(&self, state: &State) -> bool {
        matches!(state, State::Running { token, .. } if *token == self.token)
    }
}
