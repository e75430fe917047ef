//! `dismax train --embedding`: a head fitted to embeddings.

use dismax::Result;
use dismax::calibration::CalibrationOptions;
use dismax_train::{EmbeddingJob, fit_embeddings};

use super::args::{Args, held_out};
use super::fitted::report;
use crate::context::Context;
use crate::exit::Outcome;

/// Runs the command.
pub fn run(args: &Args, embedding: &str, context: &Context) -> Result<Outcome> {
    let seed = args.seed.unwrap_or_default();
    let job = EmbeddingJob {
        inputs: args.inputs.clone(),
        out: args.out.clone(),
        embedding: Some(embedding.to_owned()),
        label: args.labels.label.clone(),
        held_out: held_out(&args.validation)?,
        head: args.head.unwrap_or_default(),
        calibration: args.calibration.options(CalibrationOptions { seed, ..CalibrationOptions::default() }),
        seed,
        force: args.force,
        on_bad_file: args.input.on_bad_file(),
    };
    let fit = context.watch(|run| fit_embeddings(&job, run))?;
    report(fit, args, context)
}
