//! The tests of qctl through its binary.
fn main() {}
