//! Rows of a query on their way to Python: record batches of a useful size, one after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch as ArrowBatch, RecordBatchReader};
use arrow::compute::BatchCoalescer;
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
use crate::runtime::{runtime, wait};

/// Rows of a record batch where the caller names no number.
const ROWS: usize = 8192;
/// Bytes that a record batch should not exceed then.
const BYTES: usize = 32 << 20;
/// Time between two calls of a progress function.
const INTERVAL: Duration = Duration::from_millis(100);

/// Record batches of about so many rows. The scoring stage gives few at a time, which other libraries would keep as as
/// many pieces.
pub struct Rows {
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    batch_rows: Option<usize>,
    coalescer: Option<BatchCoalescer>,
    ended: bool,
}

impl Rows {
    /// `schema` has the columns of the stream, perhaps with more metadata. Without `batch_rows` a record batch has 8,192
    /// rows, or fewer where these take more than 32 MiB.
    pub fn new(stream: SendableRecordBatchStream, schema: SchemaRef, batch_rows: Option<usize>) -> Self {
        Self { stream, schema, batch_rows, coalescer: None, ended: false }
    }

    /// Columns and metadata of the record batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next record batch.
    pub async fn next(&mut self) -> Option<Result<ArrowBatch, DataFusionError>> {
        loop {
            if let Some(batch) = self.coalescer.as_mut().and_then(BatchCoalescer::next_completed_batch) {
                return Some(batch.with_schema(Arc::clone(&self.schema)).map_err(DataFusionError::from));
            }
            if self.ended {
                return None;
            }
            match self.stream.next().await {
                Some(Ok(batch)) => {
                    if let Err(error) = self.push(batch) {
                        self.ended = true;
                        return Some(Err(error.into()));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                None => {
                    self.ended = true;
                    if let Some(Err(error)) = self.coalescer.as_mut().map(BatchCoalescer::finish_buffered_batch) {
                        return Some(Err(error.into()));
                    }
                }
            }
        }
    }

    fn push(&mut self, batch: ArrowBatch) -> Result<(), ArrowError> {
        let batch_rows = self.batch_rows;
        let coalescer = self.coalescer.get_or_insert_with(|| {
            let bytes: usize = batch.columns().iter().map(used_bytes).sum();
            let fitting = BYTES / bytes.div_ceil(batch.num_rows().max(1)).max(1);
            BatchCoalescer::new(batch.schema(), batch_rows.unwrap_or(fitting.clamp(1, ROWS)))
        });
        coalescer.push_batch(batch)
    }
}

/// The same for the Arrow C stream interface: a library may call it on any thread, with or without the interpreter's
/// lock.
pub struct Reader {
    rows: Rows,
    done: u64,
    progress: Option<Progress>,
    /// The error that ended it.
    failure: Arc<Mutex<Option<PyErr>>>,
}

/// Who is told how many rows were read.
pub struct Progress {
    pub call: Py<PyAny>,
    pub of: Option<u64>,
    told: Option<Instant>,
}

impl Progress {
    pub fn new(call: Py<PyAny>, of: Option<u64>) -> Self {
        Self { call, of, told: None }
    }

    /// Tells, if it is time.
    fn tell(&mut self, rows: u64) -> PyResult<()> {
        if self.told.is_some_and(|told| told.elapsed() < INTERVAL) {
            return Ok(());
        }
        self.told = Some(Instant::now());
        Python::attach(|py| self.call.call1(py, ("scoring", rows, self.of, 0)).map(drop))
    }
}

impl Reader {
    pub fn new(rows: Rows, progress: Option<Progress>) -> Self {
        Self { rows, done: 0, progress, failure: Arc::default() }
    }

    /// Where the error that ends it will be.
    pub fn failure(&self) -> Arc<Mutex<Option<PyErr>>> {
        Arc::clone(&self.failure)
    }

    fn wait(&mut self) -> PyResult<Option<ArrowBatch>> {
        let next = if is_known_to_python() {
            // Whether this thread holds the lock is not known; attached, it can let go of it while it waits.
            Python::attach(|py| wait(py, self.rows.next()))?
        } else {
            runtime()?.block_on(self.rows.next())
        };
        let batch = next.transpose().map_err(|error| from_query(&error))?;
        self.done += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        if let Some(progress) = &mut self.progress {
            progress.tell(self.done)?;
        }
        Ok(batch)
    }
}

/// Whether this thread has run Python code, so that it may hold the interpreter's lock. To attach the threads of other
/// libraries would make them wait for whoever computes in Python.
fn is_known_to_python() -> bool {
    // SAFETY: the interpreter runs, since it called into this module; the function only looks the thread up.
    unsafe { !ffi::PyGILState_GetThisThreadState().is_null() }
}

impl Iterator for Reader {
    type Item = Result<ArrowBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.wait();
        batch.transpose().map(|batch| {
            batch.map_err(|error| {
                let told = Python::attach(|py| error.clone_ref(py));
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
                for_other_library(error)
            })
        })
    }
}

/// The library that reads tells the error in its own way, as text.
fn for_other_library(error: PyErr) -> ArrowError {
    Python::attach(|py| {
        if error.is_instance_of::<PyKeyboardInterrupt>(py) {
            // It may not know what an interrupt is; Python's main thread is to see it as well.
            // SAFETY: it sets a flag, as the signal's handler does.
            unsafe { ffi::PyErr_SetInterrupt() };
        }
        let text = error.value(py).str().map(|text| text.to_string()).unwrap_or_default();
        let name = error.get_type(py).name().map(|name| name.to_string()).unwrap_or_default();
        let text = if text.is_empty() { name } else { text };
        // A C string ends at its first zero.
        ArrowError::ExternalError(text.replace('\0', " ").into())
    })
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.rows.schema)
    }
}

/// Iterates over the record batches of one reading of a relation.
#[pyclass(module = "dismax")]
pub struct Batches {
    rows: Mutex<Option<Rows>>,
}

impl Batches {
    pub fn new(rows: Rows) -> Self {
        Self { rows: Mutex::new(Some(rows)) }
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
