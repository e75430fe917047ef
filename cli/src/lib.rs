//! The `dismax` command.
//!
//! `Cli` says what can be asked for; a file per command in `commands` resolves it into what the library takes, runs
//! it and prints what came out. Anything a program would want as well is in the library.

mod allocator;
mod args;
mod charts;
#[cfg(feature = "cluster")]
mod cluster;
mod commands;
mod context;
mod exit;
mod hint;
#[cfg(feature = "sql")]
mod models;
mod report;
mod signals;
mod text;
mod ui;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::{ArgAction, CommandFactory, Parser};
use dismax::cancel::Cancel;
use dismax::text::harmless_lines;

use crate::commands::Command;
use crate::context::Context;
use crate::ui::Ui;

const AFTER_HELP: &str = "\
From nothing to flagged images, with training rows in train.parquet:
  dismax train train.parquet --out model
  dismax evaluate --model model --id test.parquet --ood other.parquet
  dismax score new.parquet --model model --out scored.parquet

Datasets are Parquet, Arrow IPC or tar: files, folders, addresses (s3://, gs://, az://, https://, hf://), quoted patterns
such as 'data/**/*.parquet', or - for standard input; also folders of images, and Delta tables. Images are encoded (JPEG, PNG, WebP, GIF, BMP, TIFF) or pixels as uint8.

Exit codes:
  0    done; also where the reader of a pipe went away
  1    done but for one thing: `train` wrote a model that it could not calibrate, `score` could score no row
  2    wrong usage: flags, a column or an output that is in the way, a device that is not there
  3    data, files or a model that cannot be used
  4    more rows failed than `score --max-errors` allows
  5    the audit is there, and its findings break a rule of `audit --fail-on`
  130  interrupted

Results that --json asks for go to standard output, everything else about a run to standard error.";

/// Train, calibrate and use image classifiers that know what they do not know.
///
/// A DisMax network gives calibrated class probabilities and flags images that are unlike those it was trained on.
#[derive(Debug, Parser)]
#[command(name = "dismax", version, after_long_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Say more about what is done.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,

    /// Say nothing but errors and the result that was asked for.
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// Runs a command line, of which the first word is the program's name, and gives its exit code. Help, and what is wrong
/// with the words, go where the terminal expects them.
pub fn run<I, T>(words: I) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    allocator::limit_pools();
    dismax::panic::silence_caught();
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let cli = Cli::parse_from(&words);
    let ui = Ui::new(cli.quiet);
    ui.start_logging(cli.verbose);
    let cancel = Cancel::default();
    let result = signals::install(&cancel).and_then(|()| {
        cli.command.run(&Context {
            ui,
            cancel,
            #[cfg(feature = "audit")]
            words: words.into_iter().skip(1).collect(),
            definition: Cli::command,
        })
    });
    match result {
        Ok(outcome) => outcome.into(),
        Err(error) if exit::is_closed_pipe(&error) => 0,
        Err(error) => {
            let hint = hint::hint(&error).map(|hint| format!("; {hint}")).unwrap_or_default();
            // If standard error is gone too, only the exit code is left.
            let _ = writeln!(io::stderr(), "dismax: {}{hint}", harmless_lines(&error.to_string()));
            exit::code(&error)
        }
    }
}

/// Threads for queries.
#[cfg(feature = "sql")]
fn runtime() -> dismax::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| dismax::Error::io("threads for queries", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_explains_itself() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for flag in command.get_arguments() {
                assert!(flag.get_help().is_some(), "{} {}", command.get_name(), flag.get_id());
            }
        }
    }
}
