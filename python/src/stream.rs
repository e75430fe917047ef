//! Rows of a query on their way to Python: record batches of a useful size, one after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch as ArrowBatch, RecordBatchOptions, RecordBatchReader};
use arrow::compute::{BatchCoalescer, concat_batches};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use dismax::dataset::used_bytes;
use futures::StreamExt;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::batch::RecordBatch;
use crate::error::from_query;
use crate::lock::{self, Object, Unlocked};
use crate::runtime::{wait, wait_for_library};

/// Rows of a record batch where the caller names no number.
const ROWS: usize = 8192;
/// Bytes that a record batch should not exceed then.
const BYTES: usize = 32 << 20;
/// What a bar calls it.
pub const TASK: &str = "reading";
/// Time between two calls of a progress function.
const INTERVAL: Duration = Duration::from_millis(100);

/// Record batches of about so many rows. The scoring stage gives few at a time, which other libraries would keep as as
/// many pieces.
pub struct Rows {
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    /// Makes record batches of a size that was asked for.
    coalescer: Option<BatchCoalescer>,
    ended: bool,
}

impl Rows {
    /// `schema` has the columns of the stream, perhaps with more metadata. Without `batch_rows` a record batch has
    /// about 8,192 rows, or fewer where these take more than 32 MiB.
    pub fn new(stream: SendableRecordBatchStream, schema: SchemaRef, batch_rows: Option<usize>) -> Self {
        let coalescer = batch_rows.map(|rows| BatchCoalescer::new(Arc::clone(&schema), rows));
        Self { stream, schema, coalescer, ended: false }
    }

    /// Columns and metadata of the record batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next record batch.
    pub async fn next(&mut self) -> Option<Result<ArrowBatch, DataFusionError>> {
        match self.coalescer.take() {
            Some(mut coalescer) => {
                let next = self.next_of_size(&mut coalescer).await;
                self.coalescer = Some(coalescer);
                next.transpose()
            }
            None => self.next_gathered().await.transpose(),
        }
    }

    /// The next record batch as the query gives it, which may have few rows.
    pub async fn next_piece(&mut self) -> Option<Result<ArrowBatch, DataFusionError>> {
        if self.ended {
            return None;
        }
        let piece = self.stream.next().await.map(|piece| {
            let piece = piece?;
            // Only names, types and nulls must fit: steps of a plan differ in the metadata that they keep.
            let rows = RecordBatchOptions::new().with_row_count(Some(piece.num_rows()));
            Ok(ArrowBatch::try_new_with_options(Arc::clone(&self.schema), piece.columns().to_vec(), &rows)?)
        });
        self.ended = !matches!(piece, Some(Ok(_)));
        piece
    }

    async fn next_of_size(&mut self, coalescer: &mut BatchCoalescer) -> Result<Option<ArrowBatch>, DataFusionError> {
        loop {
            if let Some(batch) = coalescer.next_completed_batch() {
                return Ok(Some(batch));
            }
            match self.next_piece().await {
                Some(piece) => coalescer.push_batch(piece?)?,
                None => {
                    coalescer.finish_buffered_batch()?;
                    return Ok(coalescer.next_completed_batch());
                }
            }
        }
    }

    async fn next_gathered(&mut self) -> Result<Option<ArrowBatch>, DataFusionError> {
        let (mut pieces, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while rows < ROWS && bytes < BYTES {
            let Some(piece) = self.next_piece().await else { break };
            let piece = piece?;
            rows += piece.num_rows();
            bytes += piece.columns().iter().map(used_bytes).sum::<usize>();
            pieces.push(piece);
        }
        Ok(match pieces.len() {
            0 => None,
            _ => Some(concat_batches(&self.schema, &pieces)?),
        })
    }
}

/// The same for the Arrow C stream interface: a library may call it on any thread, with or without the interpreter's
/// lock.
pub struct Reader {
    rows: Unlocked<Rows>,
    done: u64,
    progress: Option<Progress>,
    /// The error that ended it.
    failure: Option<Arc<Mutex<Option<PyErr>>>>,
}

/// Who is told how many rows were read.
pub struct Progress {
    call: Object,
    of: Option<u64>,
    told: Option<Instant>,
}

impl Progress {
    pub fn new(call: Py<PyAny>, of: Option<u64>) -> Self {
        Self { call: call.into(), of, told: None }
    }

    fn is_due(&self) -> bool {
        self.told.is_none_or(|told| told.elapsed() >= INTERVAL)
    }

    fn tell(&mut self, py: Python<'_>, rows: u64) -> PyResult<()> {
        self.told = Some(Instant::now());
        self.call.bind(py).call1((TASK, rows, self.of, 0)).map(drop)
    }
}

impl Reader {
    pub fn new(rows: Rows, progress: Option<Progress>) -> Self {
        Self { rows: rows.into(), done: 0, progress, failure: None }
    }

    /// Where the error that ends it will be, for whoever let the other library read.
    pub fn failure(&mut self) -> Arc<Mutex<Option<PyErr>>> {
        Arc::clone(self.failure.get_or_insert_default())
    }

    fn wait(&mut self) -> PyResult<Option<ArrowBatch>> {
        let next = wait_for_library(self.rows.next())?;
        let batch = next.transpose().map_err(|error| {
            lock::held(move |_| {
                let raised = from_query(&error);
                drop(error);
                raised
            })
        })?;
        self.done += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        match &mut self.progress {
            Some(progress) if progress.is_due() => lock::held(|py| progress.tell(py, self.done))?,
            _ => {}
        }
        Ok(batch)
    }
}

impl Iterator for Reader {
    type Item = Result<ArrowBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.wait();
        // What was gathered is lost with an error, and whoever asks again must not miss it.
        self.rows.ended |= batch.is_err();
        batch.transpose().map(|batch| {
            batch.map_err(|error| {
                lock::held(|py| {
                    let text = text_for_library(py, &error, self.failure.is_none());
                    if let Some(failure) = &self.failure {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                    ArrowError::ExternalError(text.into())
                })
            })
        })
    }
}

/// The library that reads tells the error in its own way, as text.
fn text_for_library(py: Python<'_>, error: &PyErr, is_last_word: bool) -> String {
    if is_last_word && error.is_instance_of::<PyKeyboardInterrupt>(py) {
        // As an error of that library it could be taken for one to try again after.
        // SAFETY: it sets a flag for Python's main thread, as the signal's handler does.
        unsafe { ffi::PyErr_SetInterrupt() };
    }
    let text = error.value(py).str().map(|text| text.to_string()).unwrap_or_default();
    let name = error.get_type(py).name().map(|name| name.to_string()).unwrap_or_default();
    let text = if text.is_empty() { name } else { text };
    // A C string ends at its first zero.
    text.replace('\0', " ")
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.rows.schema)
    }
}

/// Iterates over the record batches of one reading of a relation.
#[pyclass(module = "dismax")]
pub struct Batches {
    rows: Mutex<Option<Unlocked<Rows>>>,
}

impl Batches {
    pub fn new(rows: Rows) -> Self {
        Self { rows: Mutex::new(Some(rows.into())) }
    }
}

#[pymethods]
impl Batches {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<RecordBatch>> {
        let rows = self.rows.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(reading) = rows else { return Ok(None) };
        let next = wait(py, reading.next());
        if !matches!(next, Ok(Some(Ok(_)))) {
            *rows = None;
        }
        next?.transpose().map(|batch| batch.map(RecordBatch)).map_err(|error| from_query(&error))
    }
}
