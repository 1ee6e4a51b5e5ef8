//! Passing on the output of an attempt, also while it runs.

use std::time::Duration;

use super::Ctx;
use crate::exit::Failure;
use crate::job::{JobId, State, Stream, Token};
use crate::render::{json, text, words};
use crate::ui::{Format, Ui};

/// How soon what a running attempt printed is looked for again.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// How far the streams of one attempt have been passed on.
pub(super) struct Following {
    job: JobId,
    pub(super) token: Token,
    streams: Vec<Stream>,
    passed_on: [u64; 2],
    is_painted: bool,
}

impl Following {
    /// From the beginning.
    pub(super) fn new(job: JobId, token: Token, streams: &[Stream]) -> Self {
        Self { job, token, streams: streams.to_vec(), passed_on: [0; 2], is_painted: false }
    }

    /// Passes on what there is by now, except for what has only begun: a character may lie across two
    /// pieces.
    pub(super) fn catch_up(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        for stream in self.streams.clone() {
            let rest = self.pass_on(ctx, stream)?;
            let whole = if is_terminal(&ctx.ui, stream) { text::whole(&rest) } else { rest.len() };
            self.show(&ctx.ui, stream, &rest[..whole])?;
        }
        Ok(())
    }

    /// Passes on all that is left; to be called when no more comes.
    pub(super) fn finish(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        for stream in self.streams.clone() {
            let rest = self.pass_on(ctx, stream)?;
            self.show(&ctx.ui, stream, &rest)?;
        }
        if self.is_painted { ctx.ui.unpaint() } else { Ok(()) }
    }

    /// Passes on what lies before the last gap; answers what lies behind it.
    fn pass_on(&mut self, ctx: &mut Ctx, stream: Stream) -> Result<Vec<u8>, Failure> {
        let chunks = ctx.store()?.output(self.job, self.token, stream, self.passed_on[stream as usize])?;
        let mut bytes = Vec::new();
        for chunk in chunks {
            if ctx.ui.format == Format::Json {
                self.passed_on[stream as usize] = chunk.end();
                ctx.ui.print(&json::chunk(self.job, self.token, &chunk))?;
                continue;
            }
            let passed_on = self.passed_on[stream as usize] + bytes.len() as u64;
            if chunk.offset > passed_on {
                self.show(&ctx.ui, stream, &bytes)?;
                bytes.clear();
                let gap = words::bytes(chunk.offset - passed_on);
                ctx.ui.say(format_args!("qctl: here {gap} of {} were not kept", stream.name()));
                self.passed_on[stream as usize] = chunk.offset;
            }
            bytes.extend(chunk.bytes);
        }
        Ok(bytes)
    }

    fn show(&mut self, ui: &Ui, stream: Stream, bytes: &[u8]) -> Result<(), Failure> {
        match stream {
            Stream::Stdout => ui.raw(bytes)?,
            Stream::Stderr => ui.raw_stderr(bytes)?,
        }
        if is_terminal(ui, stream) {
            self.is_painted = text::leaves_paint(bytes).unwrap_or(self.is_painted);
        }
        self.passed_on[stream as usize] += bytes.len() as u64;
        Ok(())
    }

    /// Whether the attempt still runs.
    pub(super) fn is_running(&self, state: &State) -> bool {
        matches!(state, State::Running { token, .. } if *token == self.token)
    }
}

fn is_terminal(ui: &Ui, stream: Stream) -> bool {
    match stream {
        Stream::Stdout => ui.stdout_is_terminal,
        Stream::Stderr => ui.stderr_is_terminal,
    }
}
