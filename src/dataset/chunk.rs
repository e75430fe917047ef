//! A piece of a dataset.

use std::sync::Arc;

use arrow::array::RecordBatch;

/// Some rows of one file, in the dataset's order.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The rows: at least 1, within the [`BatchSize`](super::BatchSize) of the reading.
    pub record_batch: RecordBatch,
    /// The file they come from, as the user named it; `stdin` for standard input.
    pub file: Arc<str>,
    /// Number of the input among those of the dataset, in reading order.
    pub source: usize,
    /// Number of the first row within that file, from 0.
    pub first_row: u64,
}
