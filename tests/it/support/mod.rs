//! A folder, a queue in it, a clock that can be advanced and a terminal: what every test works with.

mod output;
mod sandbox;
pub(crate) mod schema;
pub(crate) mod session;
mod terminal;

pub(crate) use output::Output;
pub(crate) use sandbox::{Running, Sandbox, is_alive, is_possible};
pub(crate) use terminal::Terminal;
