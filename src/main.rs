//! The qctl binary.
fn main() {}
