//! The tests of qctl through its binary: one file for each promise to the user.

mod push;
mod support;
