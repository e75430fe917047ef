//! `dismax completions`.

use clap_complete::Shell;
use dismax::Result;

use crate::context::Context;
use crate::exit::Outcome;
use crate::ui;

pub const EXAMPLES: &str = "\
Examples:
  dismax completions bash > ~/.local/share/bash-completion/completions/dismax
  dismax completions zsh > \"${fpath[1]}/_dismax\"
  dismax completions fish > ~/.config/fish/completions/dismax.fish";

/// Flags of `dismax completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell to complete in.
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut (context.definition)(), "dismax", &mut script);
    ui::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
