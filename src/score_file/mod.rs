//! A dataset through a [`Stage`](crate::stage::Stage) into a file: every row comes out, in order, with its new columns.
//!
//! ```no_run
//! use dismax::run::Run;
//! use dismax::score_file::{ScoreOptions, score_to};
//! use dismax::stage::StageOptions;
//! use dismax::{Dataset, Model, Stage};
//!
//! let stage = Stage::try_new(Model::read("models/cifar10-resnet20")?, &StageOptions::default())?;
//! let dataset = Dataset::open(&["images/*.parquet"])?;
//! let options = ScoreOptions { max_errors: Some("1%".parse()?), ..ScoreOptions::default() };
//! let mut run = Run { cancel: Default::default(), progress: &mut |progress| println!("{} rows", progress.rows) };
//! let summary = score_to(&stage, &dataset, "scored.parquet", &options, &mut run)?;
//! println!("{} of {} rows flagged", summary.flagged, summary.scored);
//! # Ok::<(), dismax::Error>(())
//! ```

mod counts;
mod limit;
mod parts;
mod retry;
mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use self::counts::Counts;
pub use self::limit::ErrorLimit;
pub use self::parts::{PartCounts, PartOptions, PartsRun, PartsSettings, score_part, score_to_parts};
pub use self::retry::retry_failed;
pub use self::summary::{PartsSummary, ScoreSummary};
use crate::columns::{Columns, ScoredColumn, ScoredColumns, with_columns};
use crate::dataset::{Chunk, Dataset, PairWriter, WriteOptions};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::run::{Progress, Run};
use crate::score::Score;
use crate::stage::Scanner;

/// What becomes of a row that cannot be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnError {
    /// It keeps its input columns, gets nulls and a reason in `error`.
    #[default]
    Null,
    /// It ends the run with an error that names it.
    Fail,
}

/// What is written and when a run gives up.
#[derive(Debug, Clone, Default)]
pub struct ScoreOptions {
    /// Stands in front of the names of the new columns.
    pub prefix: String,
    /// Share of in-distribution rows that may be flagged; the model's own where none is given.
    pub alpha: Option<f64>,
    /// Share of rows of each class whose true class may be missing in the column `prediction_set`; there is no such
    /// column where none is given.
    pub prediction_set: Option<f64>,
    /// What becomes of a row that cannot be scored.
    pub on_error: OnError,
    /// Failed rows that are accepted; any number where none is given. Of a folder of parts all rows count, also those
    /// that earlier runs wrote.
    pub max_errors: Option<ErrorLimit>,
    /// A second file for the failed rows alone: the input's columns and `error`.
    pub errors_to: Option<String>,
    /// How files are written; the format follows from their names unless it is given.
    pub write: WriteOptions,
}

/// Scores `dataset` into `target`: a file name, or `-` for an Arrow IPC stream on standard output.
///
/// The output has the input's rows in their order, the input's columns and metadata, and the columns of [`Columns`]. It
/// appears whole or not at all (a stream cannot be taken back). A dataset without rows gives an output without rows.
///
/// # Errors
/// A model that is not calibrated, a column name that is taken, an output that exists or cannot be written, damaged
/// input; [`Error::Row`] naming the first failing row under [`OnError::Fail`]; [`Error::TooManyRowErrors`];
/// [`Error::Cancelled`].
pub fn score_to(
    stage: &impl Scanner,
    dataset: &Dataset,
    target: &str,
    options: &ScoreOptions,
    run: &mut Run<'_>,
) -> Result<ScoreSummary> {
    let columns = columns_of(stage.model(), options)?;
    stage.input_column(dataset)?;
    let mut outputs = ScoreOutputs::create(dataset, columns, target, options)?;
    let (mut counts, clock) = (Counts::default(), Clock::start(stage));
    for scored in stage.scan_all(dataset, None, run.cancel.clone(), Arc::new(()))? {
        let (chunk, scored) = scored?;
        let columns = outputs.columns.build(&scored)?;
        counts.add(&chunk, &columns);
        check_failures(&chunk, &columns, &counts, options)?;
        outputs.write(&chunk, &columns)?;
        let (rows, failed) = (counts.rows, counts.failed);
        run.report(Progress { task: "scoring", rows, of: dataset.rows(), failed })?;
    }
    run.cancel.check()?;
    if let Some(limit) = options.max_errors {
        counts.check(limit, true)?;
    }
    let (alpha, score) = (outputs.columns.alpha(), outputs.columns.score());
    outputs.files.finish()?;
    let mut summary = clock.summary(stage, &counts, (alpha, score), target);
    summary.errors_output = options.errors_to.clone();
    summary.bad_files = bad_files_of(dataset);
    Ok(summary)
}

/// The columns that the options ask for.
fn columns_of(model: &Arc<Model>, options: &ScoreOptions) -> Result<Columns> {
    Columns::of_model(model, &options.prefix)?.with_alphas(options.alpha, options.prediction_set)
}

/// Ends the run at a failed row, where that was asked for, or at too many of them.
fn check_failures(chunk: &Chunk, columns: &ScoredColumns, counts: &Counts, options: &ScoreOptions) -> Result<()> {
    if let (OnError::Fail, Some((row, error))) = (options.on_error, columns.failed.first()) {
        let origin = format!("{}, row {}", chunk.file, chunk.first_row + *row as u64);
        return Err(Error::Row { origin, error: error.clone() });
    }
    match options.max_errors {
        None => Ok(()),
        Some(limit) => counts.check(limit, false),
    }
}

/// Files of which rows were left out, with the reason of each.
fn bad_files_of(dataset: &Dataset) -> BTreeMap<String, String> {
    dataset.bad_files().into_iter().map(|bad| (bad.file.to_string(), bad.reason)).collect()
}

/// When a run began.
struct Clock {
    start: Instant,
    busy: Duration,
}

impl Clock {
    fn start(stage: &impl Scanner) -> Self {
        Self { start: Instant::now(), busy: stage.gpus_busy().1 }
    }

    fn summary(&self, stage: &impl Scanner, counts: &Counts, flags: (f64, Score), target: &str) -> ScoreSummary {
        let mut summary = summary(self.start, counts, flags, target, stage.model().digest());
        let (gpus, busy) = stage.gpus_busy();
        let busy = (busy - self.busy).as_secs_f64();
        summary.device_busy_share = (gpus > 0).then(|| busy / (summary.seconds * gpus as f64));
        summary
    }
}

/// The figures of a run that ends now.
fn summary(start: Instant, counts: &Counts, flags: (f64, Score), target: &str, model_digest: &str) -> ScoreSummary {
    let seconds = start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
    let scored = counts.rows - counts.failed;
    ScoreSummary {
        rows: counts.rows,
        scored,
        failed: counts.failed,
        errors: counts.errors.iter().map(|(code, count)| (code.as_str().to_owned(), *count)).collect(),
        flagged: counts.flagged,
        flagged_share: (scored > 0).then(|| counts.flagged as f64 / scored as f64),
        alpha: flags.0,
        score: flags.1,
        seconds,
        images_per_second: counts.rows as f64 / seconds,
        device_busy_share: None,
        output: target.to_owned(),
        errors_output: None,
        parts: None,
        bad_files: BTreeMap::new(),
        model_digest: model_digest.to_owned(),
    }
}

/// The file of all rows and, on request, the one of the failed rows.
struct ScoreOutputs {
    columns: Columns,
    files: PairWriter,
    schema: SchemaRef,
    error_schema: SchemaRef,
}

impl ScoreOutputs {
    fn create(dataset: &Dataset, columns: Columns, target: &str, options: &ScoreOptions) -> Result<Self> {
        let schema = columns.schema(dataset.schema())?;
        let error_schema = columns.error_schema(dataset.schema())?;
        let failed = options.errors_to.as_deref().map(|path| (path, &error_schema));
        if let Some((path, _)) = failed {
            dataset.require_not_read(path)?;
        }
        let rows = ["all rows", "the failed rows"];
        let files = PairWriter::create((target, &schema), failed, rows, &options.write)?;
        Ok(Self { columns, files, schema, error_schema })
    }

    fn write(&mut self, chunk: &Chunk, columns: &ScoredColumns) -> Result<()> {
        if self.files.has_other() && !columns.failed.is_empty() {
            let error = std::slice::from_ref(columns.array(ScoredColumn::Error));
            let rows = with_columns(&chunk.record_batch, error, &self.error_schema)?;
            let mut is_failed = vec![false; rows.num_rows()];
            columns.failed.iter().for_each(|(row, _)| is_failed[*row] = true);
            let rows = filter_record_batch(&rows, &BooleanArray::from(is_failed))
                .map_err(|source| Error::Arrow { origin: "choosing the failed rows".into(), source })?;
            self.files.write_other(&rows)?;
        }
        self.files.write(&with_columns(&chunk.record_batch, &columns.arrays, &self.schema)?)
    }
}
