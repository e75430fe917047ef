//! The run over a dataset.

use std::time::Instant;

use super::decision::{DecidedChunk, Decision};
use super::options::{FilterOptions, FilterSummary, Flag};
use super::outputs::FilterOutputs;
use crate::calibration::benjamini_hochberg;
use crate::columns::Columns;
use crate::dataset::{Chunk, Dataset};
use crate::run::{Progress, Run};
use crate::stage::Scanner;
use crate::{Error, Result};

/// Filters `dataset` into `target`: a file name, or `-` for an Arrow IPC stream on standard output.
///
/// Order, columns and metadata are the input's; with [`FilterOptions::columns`] the scored columns are appended. The
/// files appear whole or not at all, both together. Under [`Flag::Fdr`] the images are scored in a first reading and
/// the rows written in a second, so the input must be readable twice; the scores of all rows are held in memory in
/// between.
///
/// # Errors
/// As [`score_to`](crate::score_file::score_to), a predicate that cannot be evaluated, a false discovery rate outside
/// (0, 1).
pub fn filter_to(
    stage: &impl Scanner,
    dataset: &Dataset,
    target: &str,
    options: &FilterOptions,
    run: &mut Run<'_>,
) -> Result<FilterSummary> {
    let start = Instant::now();
    let alpha = match options.flag {
        Flag::Alpha(alpha) => alpha,
        Flag::Fdr(_) => None,
    };
    let columns = Columns::of_model(stage.model(), &options.prefix)?.with_alphas(alpha, options.prediction_set)?;
    if let Flag::Fdr(q) = options.flag {
        benjamini_hochberg([], q)?;
    }
    let extended = columns.schema(dataset.schema())?;
    let decision = Decision { keep: options.keep, predicate: options.predicate.clone(), columns, extended };
    let mut outputs = FilterOutputs::create(dataset, &decision, target, options)?;
    // Rejected rows are written too, so then every file is read.
    let needed = match options.predicate.as_ref().filter(|_| options.rejected.is_none()) {
        Some(predicate) => &dataset.where_folders(|folders| predicate.may_be_true(folders))?,
        None => dataset,
    };
    let files_left_out = (dataset.input_count() - needed.input_count()) as u64;
    let (dataset, mut summary) = (needed, FilterSummary { files_left_out, ..FilterSummary::default() });
    let cancel = run.cancel.clone();

    match options.flag {
        Flag::Alpha(_) => {
            for scored in decision.score(stage, dataset, &cancel)? {
                let scored = scored?;
                let flagged = decision.flagged(&scored.scored, None);
                outputs.write(&decision, scored, &flagged, &mut summary)?;
                run.report(Progress {
                    task: "filtering",
                    rows: summary.rows,
                    of: dataset.rows(),
                    failed: summary.failed,
                })?;
            }
        }
        Flag::Fdr(q) => {
            let mut all = Vec::new();
            let mut done = 0;
            for scored in decision.score(stage, dataset, &cancel)? {
                let scored = scored?;
                done += scored.chunk.record_batch.num_rows() as u64;
                all.push((scored.scored, scored.wanted));
                run.report(Progress { task: "filtering", rows: done, of: dataset.rows(), failed: 0 })?;
            }
            let p_values = all.iter().flat_map(|(scored, _)| scored.p_values.iter().copied().flatten());
            summary.threshold = benjamini_hochberg(p_values, q)?;
            // No p-value is negative.
            let threshold = summary.threshold.unwrap_or(-1.0);
            let mut all = all.into_iter();
            for chunk in stage.chunks(dataset)? {
                cancel.check()?;
                let chunk = chunk?;
                let (scored, wanted) = all.next().ok_or_else(|| changed(&chunk))?;
                if scored.p_values.len() != chunk.record_batch.num_rows() {
                    return Err(changed(&chunk));
                }
                let flagged = decision.flagged(&scored, Some(threshold));
                outputs.write(&decision, DecidedChunk { chunk, scored, wanted }, &flagged, &mut summary)?;
            }
        }
    }
    cancel.check()?;
    outputs.finish()?;
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

fn changed(chunk: &Chunk) -> Error {
    Error::data(&chunk.file, "changed while it was filtered; run again")
}
