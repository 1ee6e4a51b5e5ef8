//! The tests of qctl through its binary: one file for each promise to the user.

mod architecture;
mod bad_input;
mod capture;
mod change;
mod completion;
mod contention;
mod crash;
mod cron;
mod dlq;
mod doctor;
mod generated;
mod import;
mod list;
mod push;
mod readme;
mod retry;
mod run;
mod signals;
mod support;
mod timeout;
mod upgrade;
mod wait;
mod work;
