//! One file per command: its flags, how they are resolved, what is printed.

#[cfg(feature = "audit")]
mod audit;
mod calibrate;
#[cfg(feature = "audit")]
mod clean;
mod completions;
mod embed;
mod evaluate;
mod export;
mod filter;
mod import;
mod info;
#[cfg(not(all(feature = "sql", feature = "train", feature = "audit", feature = "cluster")))]
mod left_out;
mod man;
mod score;
#[cfg(feature = "sql")]
mod sql;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "cluster")]
mod worker;

use clap::Subcommand;
use dismax::Result;

use crate::context::Context;
use crate::exit::Outcome;

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network on labelled images and calibrate it.
    #[cfg(feature = "train")]
    #[command(after_long_help = train::EXAMPLES)]
    Train(Box<train::Args>),
    /// Train a network (not in this build).
    #[cfg(not(feature = "train"))]
    Train(left_out::Args),
    /// Fit a model's temperature and thresholds to held-out images.
    #[command(after_long_help = calibrate::EXAMPLES)]
    Calibrate(calibrate::Args),
    /// Append predictions, probabilities and out-of-distribution flags to a dataset.
    #[command(after_long_help = score::EXAMPLES)]
    Score(Box<score::Args>),
    /// Write what a model's network makes of images, for other tools and for heads of their own.
    #[command(after_long_help = embed::EXAMPLES)]
    Embed(embed::Args),
    /// Measure accuracy, calibration and detection of unknown images on test data.
    #[command(after_long_help = evaluate::EXAMPLES)]
    Evaluate(evaluate::Args),
    /// Report unknown images, wrong labels, broken files, duplicates and drift in a dataset.
    #[cfg(feature = "audit")]
    #[command(after_long_help = audit::EXAMPLES)]
    Audit(Box<audit::Args>),
    /// Audit a dataset (not in this build).
    #[cfg(not(feature = "audit"))]
    Audit(left_out::Args),
    /// Write an audited dataset without the rows that were found, and these rows beside it.
    #[cfg(feature = "audit")]
    #[command(after_long_help = clean::EXAMPLES)]
    Clean(clean::Args),
    /// Clean an audited dataset (not in this build).
    #[cfg(not(feature = "audit"))]
    Clean(left_out::Args),
    /// Query images and their scores with SQL.
    #[cfg(feature = "sql")]
    #[command(after_long_help = sql::EXAMPLES)]
    Sql(sql::Args),
    /// Query images with SQL (not in this build).
    #[cfg(not(feature = "sql"))]
    Sql(left_out::Args),
    /// Keep the known, the unknown or the broken images of a dataset.
    #[command(after_long_help = filter::EXAMPLES)]
    Filter(Box<filter::Args>),
    /// Carry out the queries and runs of other machines.
    #[cfg(feature = "cluster")]
    #[command(after_long_help = worker::EXAMPLES)]
    Worker(Box<worker::Args>),
    /// Carry out the queries and runs of other machines (not in this build).
    #[cfg(not(feature = "cluster"))]
    Worker(left_out::Args),
    /// Describe a model or a dataset.
    #[command(after_long_help = info::EXAMPLES)]
    Info(info::Args),
    /// Make a model from weights trained elsewhere.
    #[command(after_long_help = import::EXAMPLES)]
    Import(import::Args),
    /// Write a model for other programs.
    #[command(after_long_help = export::EXAMPLES)]
    Export(export::Args),
    /// Print a shell completion script.
    #[command(after_long_help = completions::EXAMPLES)]
    Completions(completions::Args),
    /// Write manual pages.
    #[command(after_long_help = man::EXAMPLES)]
    Man(man::Args),
}

impl Command {
    /// Runs it to its end.
    ///
    /// # Errors
    /// Whatever keeps it from getting there.
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        match self {
            #[cfg(feature = "train")]
            Self::Train(args) => train::run(args, context),
            #[cfg(not(feature = "train"))]
            Self::Train(_) => left_out::run("train"),
            Self::Calibrate(args) => calibrate::run(args, context),
            Self::Score(args) => score::run(args, context),
            Self::Embed(args) => embed::run(args, context),
            Self::Evaluate(args) => evaluate::run(args, context),
            #[cfg(feature = "audit")]
            Self::Audit(args) => audit::run(args, context),
            #[cfg(not(feature = "audit"))]
            Self::Audit(_) => left_out::run("audit"),
            #[cfg(feature = "audit")]
            Self::Clean(args) => clean::run(args, context),
            #[cfg(not(feature = "audit"))]
            Self::Clean(_) => left_out::run("audit"),
            #[cfg(feature = "sql")]
            Self::Sql(args) => sql::run(args, context),
            #[cfg(not(feature = "sql"))]
            Self::Sql(_) => left_out::run("sql"),
            Self::Filter(args) => filter::run(args, context),
            #[cfg(feature = "cluster")]
            Self::Worker(args) => worker::run(args, context),
            #[cfg(not(feature = "cluster"))]
            Self::Worker(_) => left_out::run("cluster"),
            Self::Info(args) => info::run(args, context),
            Self::Import(args) => import::run(args, context),
            Self::Export(args) => export::run(args, context),
            Self::Completions(args) => completions::run(args, context),
            Self::Man(args) => man::run(args, context),
        }
    }
}
