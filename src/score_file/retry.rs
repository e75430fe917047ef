//! Rows that could not be scored, tried again where they stand: in an output of before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave};

use super::counts::Counts;
use super::parts::PartsFolder;
use super::{Clock, ScoreOptions, ScoreSummary, columns_of};
use crate::columns::{Columns, ScoredColumn};
use crate::dataset::{BackgroundWriter, Chunk, Dataset, DatasetWriter, InputColumn, WriteOptions};
use crate::error::{Error, Result};
use crate::location::is_remote;
use crate::run::{Progress, Run};
use crate::stage::Stage;

/// Scores the failed rows of `target` again, an output of [`score_to`](super::score_to) or a folder of
/// [`score_to_parts`](super::score_to_parts). Files with failed rows are written anew, whole or not at all; all other
/// rows and files stay as they are. The counts of the summary are of the rows that were tried again.
///
/// Paths in rows start in the folder of the input, for a single output in its own.
///
/// # Errors
/// An output of another model, or that lacks the columns of scores; what scoring and writing say.
pub fn retry_failed(stage: &Stage, target: &str, options: &ScoreOptions, run: &mut Run<'_>) -> Result<ScoreSummary> {
    let columns = columns_of(stage.model(), options)?;
    let clock = Clock::start(stage);
    let mut counts = Counts::default();
    let is_folder = Path::new(target).is_dir() || is_remote(target) && target.ends_with('/');
    if is_folder {
        let folder = PartsFolder::open(target, &run.cancel)?;
        let missing = || Error::data(target, "has no manifest: it is no folder that scores were written to");
        let mut manifest = folder.manifest(&run.cancel)?.ok_or_else(missing)?;
        for number in 0..manifest.parts.len() {
            let part = &mut manifest.parts[number];
            if part.rows.is_some() && part.failed > 0 {
                let input = part.input.clone();
                part.failed = retry_file(stage, &folder.name_of(&part.part), Some(&input), &columns, &mut counts, run)?;
                folder.write_manifest(&manifest)?;
            }
        }
    } else {
        retry_file(stage, target, None, &columns, &mut counts, run)?;
    }
    Ok(clock.summary(stage, &counts, (columns.alpha(), columns.score()), target))
}

/// Tries the failed rows of one file, and says how many failed again. `input` is what the file was made of.
fn retry_file(
    stage: &Stage,
    file: &str,
    input: Option<&str>,
    columns: &Columns,
    counts: &mut Counts,
    run: &mut Run<'_>,
) -> Result<u64> {
    let dataset = Dataset::open_with(&[file], &run.cancel)?;
    let columns = &columns.clone().like_those_in(dataset.schema())?;
    columns.require_in(dataset.schema()).map_err(|message| Error::data(file, message))?;
    let error_column = dataset.schema().index_of(columns.field(ScoredColumn::Error).name()).expect("it was found");
    if !has_failed(&dataset, error_column)? {
        return Ok(0);
    }
    let write = WriteOptions { overwrite: true, ..WriteOptions::default() };
    let mut writer = BackgroundWriter::try_new(DatasetWriter::create(file, dataset.schema(), &write)?)?;
    let images_below = input.filter(|input| Path::new(input).is_dir()).map(PathBuf::from);
    let place: Arc<str> = input.unwrap_or(file).into();
    let prepare = move |chunk: Chunk, input: &InputColumn| {
        let failed: BooleanArray = (0..chunk.record_batch.num_rows())
            .map(|row| Some(chunk.record_batch.column(error_column).is_valid(row)))
            .collect();
        let rows = filter_record_batch(&chunk.record_batch, &failed)
            .map_err(|source| Error::Arrow { origin: "choosing the failed rows".into(), source })?;
        // Files of a folder that was scored may be opened, and no others: the rows may come from elsewhere by now.
        let input = match &images_below {
            Some(folder) => input.clone().opening_below(folder),
            None => input.clone(),
        };
        let rows = input.rows(&Chunk { record_batch: rows, file: Arc::clone(&place), ..chunk.clone() })?;
        Ok((rows, (chunk, failed)))
    };
    let mut failed_again = 0;
    for scored in stage.scan_with(&dataset, None, run.cancel.clone(), Arc::new(()), prepare)? {
        let ((chunk, tried), scored) = scored?;
        let mut new = columns.build(&scored)?;
        failed_again += new.failed.len() as u64;
        let places: Vec<usize> = tried.values().set_indices().collect();
        new.failed.iter_mut().for_each(|(row, _)| *row = places[*row]);
        counts.add(&chunk, &new);
        writer.write(&merged(&chunk.record_batch, &tried, columns, &new.arrays)?)?;
        let (rows, failed) = (counts.rows, counts.failed);
        run.report(Progress { task: "scoring again", rows, of: None, failed })?;
    }
    run.cancel.check()?;
    writer.into_writer()?.finish()?;
    Ok(failed_again)
}

fn has_failed(dataset: &Dataset, error_column: usize) -> Result<bool> {
    for chunk in dataset.read(8192, Some(&[error_column]))? {
        let chunk = chunk?;
        if chunk.record_batch.column(0).null_count() < chunk.record_batch.num_rows() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows with new values in the scored columns of those that were `tried`.
fn merged(rows: &RecordBatch, tried: &BooleanArray, columns: &Columns, new: &[ArrayRef]) -> Result<RecordBatch> {
    let wrap = |source| Error::Arrow { origin: "putting scores in their places".into(), source };
    let mut new_rows = 0..;
    let mut place = |row| match tried.value(row) {
        true => (1, new_rows.next().expect("numbers do not end")),
        false => (0, row),
    };
    let places: Vec<(usize, usize)> = (0..rows.num_rows()).map(&mut place).collect();
    let mut arrays = rows.columns().to_vec();
    for (field, new) in columns.fields().iter().zip(new) {
        let at = rows.schema().index_of(field.name()).map_err(wrap)?;
        let new = arrow::compute::cast(new, arrays[at].data_type()).map_err(wrap)?;
        arrays[at] = interleave(&[arrays[at].as_ref(), new.as_ref()], &places).map_err(wrap)?;
    }
    RecordBatch::try_new(rows.schema(), arrays).map_err(wrap)
}
