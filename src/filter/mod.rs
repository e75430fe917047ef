//! A dataset through a model into the rows that are kept and, on request, those that are not.
//!
//! ```no_run
//! use dismax::run::Run;
//! use dismax::stage::StageOptions;
//! use dismax::{Dataset, Model, Stage};
//! use dismax::filter::{FilterOptions, Keep, filter_to};
//!
//! let stage = Stage::try_new(Model::read("models/cifar10-resnet20")?, &StageOptions::default())?;
//! let dataset = Dataset::open(&["photos.parquet"])?;
//! let options = FilterOptions { rejected: Some("unknown.parquet".into()), ..FilterOptions::new(Keep::InDist) };
//! let mut run = Run { cancel: Default::default(), progress: &mut |_| () };
//! let summary = filter_to(&stage, &dataset, "known.parquet", &options, &mut run)?;
//! println!("{} of {} rows kept", summary.kept, summary.rows);
//! # Ok::<(), dismax::Error>(())
//! ```

mod decision;
mod outputs;
mod predicate;

use std::sync::Arc;
use std::time::Instant;

use crate::calibration::benjamini_hochberg;
use crate::columns::Columns;
use crate::dataset::{Chunk, Dataset, WriteOptions};
use crate::run::{Progress, Run};
use crate::stage::Stage;
use crate::{Error, Result};

use self::decision::{DecidedChunk, Decision};
use self::outputs::Outputs;
pub use self::predicate::RowPredicate;

/// Which rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In-distribution rows: scored and not flagged.
    InDist,
    /// Out-of-distribution rows: scored and flagged.
    Ood,
    /// Rows that could not be scored.
    Errors,
}

/// What flags a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Flag {
    /// A p-value of at most alpha; the model's own alpha where none is given.
    Alpha(Option<f64>),
    /// The Benjamini-Hochberg procedure over all scored rows, at this false discovery rate.
    Fdr(f64),
}

/// What is kept and written.
#[derive(Debug, Clone)]
pub struct FilterOptions {
    /// Which rows are kept.
    pub keep: Keep,
    /// What flags a row.
    pub flag: Flag,
    /// A condition that kept rows fulfil as well. Rows for which one on the input's columns alone is not true are not scored.
    pub predicate: Option<Arc<dyn RowPredicate>>,
    /// A second file for all other rows.
    pub rejected: Option<String>,
    /// Whether both files get the scored columns. Otherwise they have the input's schema.
    pub columns: bool,
    /// Stands in front of the names of the scored columns.
    pub prefix: String,
    /// How files are written.
    pub write: WriteOptions,
}

impl FilterOptions {
    /// Keeps these rows, flagged by the model's own alpha, and writes nothing else.
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            flag: Flag::Alpha(None),
            predicate: None,
            rejected: None,
            columns: false,
            prefix: String::new(),
            write: WriteOptions::default(),
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FilterSummary {
    /// Rows read.
    pub rows: u64,
    /// Rows kept.
    pub kept: u64,
    /// Rows scored: those that a predicate on the input's columns left and that could be.
    pub scored: u64,
    /// Rows that could not be scored.
    pub failed: u64,
    /// Scored rows that were flagged.
    pub flagged: u64,
    /// The largest p-value that was flagged under [`Flag::Fdr`]; none where no row was.
    pub threshold: Option<f64>,
    /// Wall-clock time.
    pub seconds: f64,
}

/// Filters `dataset` into `target`: a file name, or `-` for an Arrow IPC stream on standard output.
///
/// Order, columns and metadata are the input's; with [`FilterOptions::columns`] the scored columns are appended. The files
/// appear whole or not at all, both together. Under [`Flag::Fdr`] the images are scored in a first reading and the rows
/// written in a second, so the input must be readable twice; the scores of all rows are held in memory in between.
///
/// # Errors
/// As [`score_to`](crate::score_file::score_to), a predicate that cannot be evaluated, a false discovery rate outside (0, 1).
pub fn filter_to(
    stage: &Stage,
    dataset: &Dataset,
    target: &str,
    options: &FilterOptions,
    run: &mut Run<'_>,
) -> Result<FilterSummary> {
    let start = Instant::now();
    let mut columns = Columns::try_new(stage, &options.prefix)?;
    if let Flag::Alpha(Some(alpha)) = options.flag {
        columns = columns.with_alpha(alpha)?;
    }
    if let Flag::Fdr(q) = options.flag {
        benjamini_hochberg([], q)?;
    }
    let extended = columns.schema(dataset.schema())?;
    let decision = Decision { keep: options.keep, predicate: options.predicate.clone(), columns, extended };
    let mut outputs = Outputs::create(dataset, &decision, target, options)?;
    let mut summary = FilterSummary::default();
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
            for chunk in dataset.read(stage.chunk_rows(dataset), None)? {
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
