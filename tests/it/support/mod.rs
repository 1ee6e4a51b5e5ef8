//! A folder, a queue in it and a clock that can be advanced: what every test works with; and a terminal.

mod output;
mod sandbox;
mod terminal;

pub(crate) use output::Output;
pub(crate) use sandbox::{Running, Sandbox, is_alive};
pub(crate) use terminal::Terminal;
