//! Commands that a build was made without.

use dismax::{Error, Result};

use crate::exit::Outcome;

/// Whatever flags the command has in other builds.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Not looked at.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<std::ffi::OsString>,
}

/// Says how to get the command.
///
/// # Errors
/// Always.
pub fn run(feature: &str) -> Result<Outcome> {
    Err(Error::Config(format!(
        "this build does not have this command; build dismax-cli with --features {feature}, or with its default features"
    )))
}
