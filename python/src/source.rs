//! Data as tables: paths and addresses, everything that speaks the Arrow C interfaces, iterators of record batches, and
//! datasets of Hugging Face.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch as ArrowBatch, RecordBatchOptions, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use dismax::Dataset;
use dismax::dataset::{OnBadFile, OpenOptions};
use dismax_udfs::{DatasetTable, ReaderTable, Reading};
use pyo3::exceptions::{PyStopIteration, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use pyo3_arrow::input::AnyRecordBatch;

use crate::lock::{Object, Raised};
use crate::runtime::watch;

/// Rows that a dataset of Hugging Face is asked for at a time.
const ROWS_OF_HUGGING_FACE: usize = 1000;

/// Data, and what is known of them.
pub struct Source {
    pub table: Arc<dyn TableProvider>,
    /// Files that are read, which no output may replace.
    pub files: Vec<Dataset>,
    /// Rows, where that is known without reading.
    pub rows: Option<u64>,
    /// The files, where the table is nothing else.
    pub dataset: Option<Dataset>,
    /// Whether it can be read one time only.
    pub once: bool,
}

/// What may be given, for messages.
const EXPECTED: &str = "give paths, addresses or patterns (one or a list), an object with __arrow_c_stream__ such as a \
                        table or data frame of pyarrow, polars, pandas or DuckDB, an iterator of record batches, a \
                        dataset of Hugging Face, or a relation";

impl Source {
    /// Files.
    pub fn of_dataset(dataset: Dataset) -> Self {
        let rows = dataset.rows();
        let table = Arc::new(DatasetTable::new(dataset.clone()));
        Self { table, files: vec![dataset.clone()], rows, dataset: Some(dataset), once: false }
    }

    /// Something of Python that gives record batches.
    pub fn of_python(python: PythonTable) -> Self {
        let (schema, once) = (Arc::clone(python.schema()), python.kind.is_read_once());
        let table = Arc::new(ReaderTable::new(schema, move |_, _| python.begin()));
        Self { table, files: Vec::new(), rows: None, dataset: None, once }
    }
}

/// Opens files, folders, addresses or patterns.
///
/// # Errors
/// What cannot be read.
pub fn open(py: Python<'_>, paths: &[String], on_bad_file: &str) -> PyResult<Dataset> {
    let on_bad_file = bad_files(on_bad_file)?;
    watch(py, None, None, |run, _| {
        // A store may take its time, and Ctrl-C stops the opening; the readings have their own ways to end.
        let inputs = dismax::dataset::resolve(paths, &run.cancel)?;
        Dataset::of_inputs(inputs, OpenOptions { on_bad_file, ..OpenOptions::default() })
    })
}

/// What happens to damaged files.
///
/// # Errors
/// A word that means nothing.
pub fn bad_files(word: &str) -> PyResult<OnBadFile> {
    match word {
        "fail" => Ok(OnBadFile::Fail),
        "skip" => Ok(OnBadFile::Skip),
        other => Err(PyValueError::new_err(format!("on_bad_file is \"fail\" or \"skip\", not {other:?}"))),
    }
}

/// The paths that `data` is, if it is one or a list of some.
pub fn paths(data: &Bound<'_, PyAny>) -> PyResult<Option<Vec<String>>> {
    let path = |item: &Bound<'_, PyAny>| -> PyResult<Option<String>> {
        if item.is_instance_of::<PyString>() {
            return item.extract().map(Some);
        }
        if !item.hasattr("__fspath__")? {
            return Ok(None);
        }
        let path: PathBuf = item.extract()?;
        let text = path.into_os_string().into_string();
        text.map(Some).map_err(|path| PyValueError::new_err(format!("{} is not UTF-8", path.display())))
    };
    if let Some(one) = path(data)? {
        return Ok(Some(vec![one]));
    }
    if !data.is_instance_of::<PyList>() && !data.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let items = data.try_iter()?.map(|item| path(&item?)).collect::<PyResult<Vec<_>>>()?;
    match items.into_iter().collect::<Option<Vec<_>>>() {
        Some(paths) if paths.is_empty() => Err(PyValueError::new_err("an empty list names no data")),
        paths => Ok(paths),
    }
}

type Reader = Box<dyn RecordBatchReader + Send>;

/// An object of Python that gives record batches, each time anew or once.
pub struct PythonTable {
    object: Object,
    kind: Kind,
    schema: SchemaRef,
    /// The reading that told the schema.
    first: Mutex<Option<Reader>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// `__arrow_c_stream__`, which may be called again.
    Table,
    /// `__arrow_c_stream__` of a reader, which is at its end after the first time.
    Reader,
    /// A list or tuple of record batches.
    List,
    /// A dataset of Hugging Face.
    HuggingFace,
    /// An iterator of record batches, which ends.
    Iterator,
}

impl Kind {
    fn is_read_once(self) -> bool {
        matches!(self, Self::Reader | Self::Iterator)
    }
}

impl PythonTable {
    /// # Errors
    /// `TypeError` for what gives no record batches.
    pub fn try_new(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let kind = if data.hasattr("with_format")? && data.hasattr("iter")? && data.hasattr("features")? {
            Kind::HuggingFace
        } else if data.hasattr("__arrow_c_stream__")? || data.hasattr("__arrow_c_array__")? {
            if data.hasattr("__next__")? { Kind::Reader } else { Kind::Table }
        } else if data.hasattr("collect")? && data.hasattr("collect_schema")? {
            let message = "a lazy frame has no rows yet; give frame.collect()";
            return Err(PyTypeError::new_err(message));
        } else if data.is_instance_of::<PyList>() || data.is_instance_of::<PyTuple>() {
            Kind::List
        } else if data.hasattr("__next__")? {
            Kind::Iterator
        } else {
            let name = data.get_type().name()?;
            return Err(PyTypeError::new_err(format!("{name} is no data that dismax reads; {EXPECTED}")));
        };
        let object = data.clone().unbind().into();
        let first = reader(data, kind)?;
        Ok(Self { object, kind, schema: first.schema(), first: Mutex::new(Some(first)) })
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Begins a reading.
    ///
    /// # Errors
    /// What Python raises, and for an iterator that was read already.
    pub fn begin(&self) -> datafusion::error::Result<Reading> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let reader = match first {
            Some(reader) => reader,
            None if self.kind.is_read_once() => {
                return Err(outer(PyValueError::new_err(
                    "the input was a reader or an iterator, which can be read once; give a table or a list of record batches",
                )));
            }
            None => Python::attach(|py| reader(self.object.bind(py), self.kind)).map_err(outer)?,
        };
        Ok(Box::new(reader.map(|batch| batch.map_err(DataFusionError::from))))
    }
}

fn outer(error: PyErr) -> DataFusionError {
    DataFusionError::External(Box::new(Raised::from(error)))
}

fn reader(data: &Bound<'_, PyAny>, kind: Kind) -> PyResult<Reader> {
    match kind {
        Kind::Table | Kind::Reader => data.extract::<AnyRecordBatch>()?.into_reader(),
        Kind::HuggingFace => {
            let arrow = data.call_method1("with_format", ("arrow",))?;
            let tables = arrow.call_method1("iter", (ROWS_OF_HUGGING_FACE,))?;
            Ok(Box::new(Batches::try_new(&tables)?))
        }
        Kind::List | Kind::Iterator => Ok(Box::new(Batches::try_new(data.try_iter()?.as_any())?)),
    }
}

/// Record batches, or tables, of a Python iterator.
struct Batches {
    iterator: Object,
    schema: SchemaRef,
    /// Of the last item.
    current: Option<Reader>,
}

impl Batches {
    fn try_new(iterator: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Some(first) = next_item(iterator)? else {
            return Err(PyValueError::new_err("the iterator gives no record batch, so the columns are not known"));
        };
        let schema = first.schema();
        Ok(Self { iterator: iterator.clone().unbind().into(), schema, current: Some(first) })
    }
}

fn next_item(iterator: &Bound<'_, PyAny>) -> PyResult<Option<Reader>> {
    let item = match iterator.call_method0("__next__") {
        Ok(item) => item,
        Err(error) if error.is_instance_of::<PyStopIteration>(iterator.py()) => return Ok(None),
        Err(error) => return Err(error),
    };
    match item.extract::<AnyRecordBatch>() {
        Ok(batch) => batch.into_reader().map(Some),
        Err(_) => {
            let name = item.get_type().name()?;
            Err(PyTypeError::new_err(format!("the iterator gives {name}, not record batches or tables of Arrow")))
        }
    }
}

impl Iterator for Batches {
    type Item = Result<ArrowBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.current.as_mut()?.next() {
                Some(Ok(batch)) => {
                    if let Err(error) = require_same_columns(&self.schema, batch.schema_ref()) {
                        self.current = None;
                        return Some(Err(error));
                    }
                    // Metadata may differ from one to the next, as those of pandas do.
                    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                    let columns = batch.columns().to_vec();
                    return Some(ArrowBatch::try_new_with_options(Arc::clone(&self.schema), columns, &rows));
                }
                Some(Err(error)) => return Some(Err(error)),
                None => match Python::attach(|py| next_item(self.iterator.bind(py))) {
                    Ok(next) => self.current = next,
                    Err(error) => {
                        self.current = None;
                        return Some(Err(ArrowError::ExternalError(Box::new(Raised::from(error)))));
                    }
                },
            }
        }
    }
}

/// Checks that a record batch has the columns of the first, in their order.
fn require_same_columns(first: &SchemaRef, later: &SchemaRef) -> Result<(), ArrowError> {
    let columns = |schema: &SchemaRef| -> Vec<String> {
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
    };
    let (first, later) = (columns(first), columns(later));
    if first == later {
        return Ok(());
    }
    let (first, later) = (first.join(", "), later.join(", "));
    Err(ArrowError::SchemaError(format!("the first record batch has the columns {first}, a later one {later}")))
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
