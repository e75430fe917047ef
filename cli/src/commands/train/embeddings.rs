//! `dismax train --embedding`: a head fitted to embeddings.

use std::collections::BTreeMap;

use dismax::Result;
use dismax::calibration::CalibrationOptions;
use dismax_train::{EmbeddingFit, EmbeddingJob, fit_embeddings};
use serde::Serialize;

use super::args::{Args, held_out};
use super::outcome::describe;
use crate::args;
use crate::context::Context;
use crate::exit::Outcome;
use crate::report::CalibrationReport;
use crate::{text, ui};

#[derive(Debug, Serialize)]
struct Summary<'a> {
    model: &'a str,
    model_digest: &'a str,
    rows: u64,
    held_out_rows: usize,
    left_out: u64,
    calibration: Option<CalibrationReport>,
    uncalibrated_because: Option<String>,
    /// Damaged files that were left out, with the reason of each.
    bad_files: BTreeMap<String, String>,
}

pub fn run(args: &Args, embedding: &str, context: &Context) -> Result<Outcome> {
    let seed = args.seed.unwrap_or_default();
    let job = EmbeddingJob {
        inputs: args.inputs.clone(),
        out: args.out.clone(),
        embedding: Some(embedding.to_owned()),
        label: args.labels.label.clone(),
        held_out: held_out(&args.validation)?,
        head: args.head,
        calibration: args.calibration.options(CalibrationOptions { seed, ..CalibrationOptions::default() }),
        seed,
        force: args.force,
        on_bad_file: args.input.on_bad_file(),
    };
    let fit = context.watch(|run| fit_embeddings(&job, run))?;
    let EmbeddingFit { model, rows, held_out_rows, left_out, bad_files, uncalibrated } = fit;
    if let Some(example) = &left_out.example {
        context.ui.warn(format!("{} left out; the first: {example}", text::rows(left_out.rows)));
    }
    for bad in &bad_files {
        context.ui.warn(format!("{} is left out: {}", bad.file, bad.reason));
    }
    context.ui.note(format!(
        "fitted {} on {}; {} held out",
        model.input(),
        text::rows(rows),
        text::rows(held_out_rows as u64)
    ));
    if let Some(error) = &uncalibrated {
        context.ui.incomplete(format!("the model is written without calibration: {error}"));
    }
    describe(&model, &job.out, context);
    if args.json {
        ui::print(&ui::json(&Summary {
            model: &job.out.display().to_string(),
            model_digest: model.digest(),
            rows,
            held_out_rows,
            left_out: left_out.rows,
            calibration: CalibrationReport::of(&model),
            uncalibrated_because: uncalibrated.as_ref().map(ToString::to_string),
            bad_files: args::reasons(&bad_files),
        })?)?;
    }
    Ok(if model.calibration().is_some() { Outcome::Done } else { Outcome::Incomplete })
}
