//! The qctl binary: completion, if a shell asks for it, else the command line.

use std::process::ExitCode;

use clap_complete::CompleteEnv;

fn main() -> ExitCode {
    CompleteEnv::with_factory(qctl::cli::tree).complete();
    qctl::cli::main(std::env::args_os())
}
