//! Labelled embeddings, read once on all cores.

use std::sync::Arc;
use std::thread;

use dismax::dataset::{BatchSize, EmbeddingColumn};
use dismax::embedding::{EmbeddingMoments, to_unit_length};
use dismax::error::{Error, Result, RowError, RowErrorCode};
use dismax::model::MOST_DIMENSIONS;
use dismax::parallel::{IN_FLIGHT_PER_THREAD, ordered_map};
use dismax::run::{Progress, Run};

use super::collector::LeftOut;
use super::error::TrainError;
use super::labelled_embeddings::LabelledEmbeddings;

/// Rows whose products are added at a time. The same on every machine, as sums are rounded there.
const ROWS: usize = 4096;
/// Bytes of these at most.
const BYTES: usize = 64 << 20;
/// Bytes of the sums that are in flight.
const SUMS_BYTES: usize = 1 << 30;

/// Embeddings of length 1 that are held out.
#[derive(Debug, Default)]
pub(super) struct HeldOutEmbeddings {
    /// `[N, D]`.
    pub values: Vec<f32>,
    /// `[N]`.
    pub classes: Vec<usize>,
}

impl HeldOutEmbeddings {
    /// The classes as labels.
    pub fn labels(&self) -> Vec<i64> {
        self.classes.iter().map(|class| *class as i64).collect()
    }

    fn push(&mut self, values: &[f32], class: usize) {
        self.values.extend_from_slice(values);
        self.classes.push(class);
    }
}

/// What a pass over labelled embeddings gives.
pub(super) struct ReadRows {
    pub dimensions: usize,
    /// Of the rows that are not held out.
    pub moments: EmbeddingMoments,
    pub held_out: HeldOutEmbeddings,
    pub left_out: LeftOut,
}

/// What a chunk gives.
struct Part {
    rows: usize,
    /// None where no row is fitted on.
    moments: Option<EmbeddingMoments>,
    held_out: HeldOutEmbeddings,
    left_out: LeftOut,
}

/// Reads all rows. Without `dimensions` these are the length of the first embedding.
///
/// # Errors
/// Whatever reading gives; [`Error::Data`] where no row has an embedding; [`TrainError::DataChanged`] if the dataset
/// does not have as many rows as labels.
pub(super) fn read(
    source: &LabelledEmbeddings,
    is_held_out: &[bool],
    dimensions: Option<usize>,
    run: &mut Run<'_>,
) -> Result<ReadRows> {
    let LabelledEmbeddings { dataset, embedding, labels } = source;
    let dimensions = match dimensions {
        Some(dimensions) => dimensions,
        None => dimensions_of(source)?,
    };
    let classes = labels.names.len();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(threads_in_memory(dimensions, classes));
    let mut first = 0;
    let chunks = dataset.read(BatchSize { rows: ROWS, bytes: BYTES }, Some(&[embedding.index()]))?.map(move |chunk| {
        let chunk = chunk?;
        let start = first;
        first += chunk.record_batch.num_rows();
        Ok((start, chunk))
    });
    let (column, labels) = (embedding.clone(), Arc::new((labels.classes.clone(), is_held_out.to_vec())));
    let parts = ordered_map(chunks, threads, move |chunk: Result<(usize, dismax::dataset::Chunk)>| {
        let (start, chunk) = chunk?;
        part(&column, (start, &chunk), &labels, dimensions, classes)
    })?;
    let (mut moments, mut held_out) = (EmbeddingMoments::new(dimensions, classes), HeldOutEmbeddings::default());
    let (mut left_out, mut rows) = (LeftOut::default(), 0);
    for part in parts {
        let part = part??;
        rows += part.rows;
        part.moments.iter().for_each(|part| moments.merge(part));
        held_out.values.extend_from_slice(&part.held_out.values);
        held_out.classes.extend_from_slice(&part.held_out.classes);
        left_out.add(part.left_out);
        let failed = left_out.rows;
        run.report(Progress { task: "fitting", rows: rows as u64, of: dataset.rows(), failed })?;
    }
    match rows == is_held_out.len() {
        true => Ok(ReadRows { dimensions, moments, held_out, left_out }),
        false => Err(TrainError::DataChanged.into()),
    }
}

/// The rows of a chunk that begins with the dataset's row `start`. `labels` are the class of each row, and whether it
/// is held out.
fn part(
    column: &EmbeddingColumn,
    (start, chunk): (usize, &dismax::dataset::Chunk),
    labels: &(Vec<Option<u32>>, Vec<bool>),
    dimensions: usize,
    classes: usize,
) -> Result<Part> {
    let embeddings = column.embeddings(chunk)?;
    let mut values = Vec::new();
    let outcomes = embeddings.read(0..embeddings.len(), dimensions, &mut values);
    let rows = outcomes.len();
    let (classes_of, is_held_out) = labels;
    if start + rows > classes_of.len() {
        return Err(TrainError::DataChanged.into());
    }
    let mut part = Part { rows, moments: None, held_out: HeldOutEmbeddings::default(), left_out: LeftOut::default() };
    let (mut kept, mut kept_classes) = (0, Vec::with_capacity(rows));
    for (row, outcome) in outcomes.into_iter().enumerate() {
        let from = row * dimensions;
        let outcome = outcome.and_then(|()| match to_unit_length(&mut values[from..from + dimensions]) {
            true => Ok(()),
            false => Err(RowError::new(RowErrorCode::ZeroEmbedding, "")),
        });
        match (outcome, classes_of[start + row]) {
            (Ok(()), Some(class)) if is_held_out[start + row] => {
                part.held_out.push(&values[from..from + dimensions], class as usize);
            }
            (Ok(()), Some(class)) => {
                values.copy_within(from..from + dimensions, kept * dimensions);
                kept += 1;
                kept_classes.push(class as usize);
            }
            (outcome, _) => {
                let reason = outcome.err().map_or_else(|| "no label".to_owned(), |error| error.to_string());
                let place = format!("{}, row {}: {reason}", chunk.file, chunk.first_row + row as u64);
                part.left_out.add(LeftOut { rows: 1, example: Some(place) });
            }
        }
    }
    if kept > 0 {
        values.truncate(kept * dimensions);
        part.moments.get_or_insert_with(|| EmbeddingMoments::new(dimensions, classes)).add(values, &kept_classes);
    }
    Ok(part)
}

/// Threads whose sums stay within [`SUMS_BYTES`].
fn threads_in_memory(dimensions: usize, classes: usize) -> usize {
    let bytes = size_of::<f64>() * dimensions * (dimensions + classes);
    (SUMS_BYTES / (IN_FLIGHT_PER_THREAD * bytes)).max(1)
}

/// Length of the first embedding.
fn dimensions_of(source: &LabelledEmbeddings) -> Result<usize> {
    let LabelledEmbeddings { dataset, embedding, .. } = source;
    for chunk in dataset.read(ROWS, Some(&[embedding.index()]))? {
        match embedding.embeddings(&chunk?)?.first_length() {
            Some(dimensions) if dimensions > MOST_DIMENSIONS => {
                let message = format!(
                    "\"{}\" has {dimensions} numbers a row; embeddings have at most {MOST_DIMENSIONS}",
                    embedding.name()
                );
                return Err(Error::data(dataset.files().next().unwrap_or("training data"), message));
            }
            Some(dimensions) => return Ok(dimensions),
            None => {}
        }
    }
    let file = dataset.files().next().unwrap_or("training data");
    Err(Error::data(file, format!("no row of \"{}\" has an embedding", embedding.name())))
}
