//! `dismax train --freeze`: a head fitted to the features of a network that stays as it is.

use dismax::Result;
use dismax_train::fit_head;

use super::args::Args;
use super::fitted::report;
use super::images::job;
use crate::context::Context;
use crate::exit::Outcome;

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let job = job(args)?;
    let fit = context.watch_as("reading features", |run| fit_head(&job, args.head.unwrap_or_default(), run))?;
    report(fit, args, context)
}
