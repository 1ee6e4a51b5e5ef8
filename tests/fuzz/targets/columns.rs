//! Feeds `checks::columns`; what must hold stands there.
#![no_main]

#[allow(dead_code, unused_imports, reason = "each target needs one of them")]
#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::columns(bytes));
