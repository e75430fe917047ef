//! `dismax man`.

use std::fs;
use std::path::PathBuf;

use dismax::{Error, Result};

use crate::context::Context;
use crate::exit::Outcome;

pub const EXAMPLES: &str = "\
Examples:
  dismax man ~/.local/share/man/man1
  man dismax-score";

/// Flags of `dismax man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to write a page for each command to. Existing pages are replaced.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let about = |source| Error::io(&args.folder, source);
    fs::create_dir_all(&args.folder).map_err(about)?;
    clap_mangen::generate_to((context.definition)(), &args.folder).map_err(about)?;
    Ok(Outcome::Done)
}
