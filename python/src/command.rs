//! The command, for `dismax ...` in a shell.

use pyo3::prelude::*;

/// Runs a command line, of which the first word is the program's name, and returns its exit code. For programs only:
/// signals are handled as the command handles them.
#[pyfunction]
#[pyo3(name = "_run_command")]
pub fn run(py: Python<'_>, words: Vec<std::ffi::OsString>) -> u8 {
    py.detach(|| dismax_cli::run(words))
}
