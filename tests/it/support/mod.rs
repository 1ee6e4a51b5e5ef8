//! A folder, a queue in it and a clock that can be advanced: what every test works with.

mod output;
mod sandbox;
pub(crate) mod schema;

pub(crate) use output::Output;
pub(crate) use sandbox::{Running, Sandbox, is_alive};
