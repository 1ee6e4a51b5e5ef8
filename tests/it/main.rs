//! The tests of qctl through its binary: one file for each promise to the user.

mod capture;
mod push;
mod readme;
mod retry;
mod support;
mod timeout;
mod work;
