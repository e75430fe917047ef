//! One part on its own, as another process is asked for it.

use serde::{Deserialize, Serialize};

use crate::columns::{Columns, with_columns};
use crate::dataset::{BackgroundWriter, Compression, Dataset, DatasetWriter, Format, WriteOptions};
use crate::error::Result;
use crate::run::{Progress, Run};
use crate::score_file::counts::Counts;
use crate::score_file::{OnError, ScoreOptions, bad_files_of, check_failures};
use crate::stage::Stage;

/// How a part is scored; all parts of a folder alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartOptions {
    /// Stands in front of the names of the new columns.
    pub prefix: String,
    /// Share of in-distribution rows that may be flagged.
    pub alpha: f64,
    /// Share of rows of each class whose true class may be missing in the column `prediction_set`; there is no such
    /// column where none is given.
    #[serde(default)]
    pub prediction_set: Option<f64>,
    /// What becomes of a row that cannot be scored.
    pub on_error: OnError,
    /// The column that is scored, where one is named.
    pub column: Option<String>,
    /// Most pixels of an image.
    pub max_pixels: u64,
    /// Most rows of a row group.
    pub row_group_rows: usize,
    /// Most encoded bytes of a row group, about.
    pub row_group_bytes: usize,
    /// Compression of pages.
    pub compression: Compression,
}

/// What happened to the rows of a part.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PartCounts {
    pub(super) counts: Counts,
    /// The input and what is wrong with it, where it is damaged and may be left out.
    pub(super) bad_file: Option<(String, String)>,
}

/// Scores a part into a file, which appears whole or not at all, with the same bytes as
/// [`score_to_parts`](super::score_to_parts) writes.
///
/// # Errors
/// As [`score_to_parts`](super::score_to_parts).
pub fn score_part(
    stage: &Stage,
    dataset: &Dataset,
    target: &str,
    options: &PartOptions,
    run: &mut Run<'_>,
) -> Result<PartCounts> {
    let columns = Columns::try_new(stage, &options.prefix)?.with_alphas(Some(options.alpha), options.prediction_set)?;
    stage.input_column(dataset)?;
    let schema = columns.schema(dataset.schema())?;
    let write = write_options(&WriteOptions {
        row_group_rows: options.row_group_rows,
        row_group_bytes: options.row_group_bytes,
        compression: options.compression,
        ..WriteOptions::default()
    });
    let mut writer = BackgroundWriter::try_new(DatasetWriter::create_part(target, &schema, &write)?)?;
    let checked = ScoreOptions { on_error: options.on_error, ..ScoreOptions::default() };
    let mut counts = Counts::default();
    for scored in stage.scan(dataset, None, run.cancel.clone())? {
        let (chunk, scored) = scored?;
        let columns = columns.build(&scored)?;
        counts.add(&chunk, &columns);
        check_failures(&chunk, &columns, &counts, &checked)?;
        writer.write(&with_columns(&chunk.record_batch, &columns.arrays, &schema)?)?;
        run.report(Progress { task: "scoring", rows: counts.rows, of: dataset.rows(), failed: counts.failed })?;
    }
    run.cancel.check()?;
    if let Some(bad_file) = bad_files_of(dataset).into_iter().next() {
        return Ok(PartCounts { counts: Counts::default(), bad_file: Some(bad_file) });
    }
    writer.finish_later()?.wait()?;
    Ok(PartCounts { counts, bad_file: None })
}

/// How the file of a part is written.
pub(super) fn write_options(options: &WriteOptions) -> WriteOptions {
    WriteOptions { format: Some(Format::Parquet), overwrite: true, ..options.clone() }
}
