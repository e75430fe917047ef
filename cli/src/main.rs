//! The program.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    dismax_cli::run(env::args_os()).into()
}
