//! Relations: rows that are read, scored and computed when somebody asks for them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchReader, StructArray};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use crossbeam::channel::bounded;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::config::SessionConfig;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use dismax::Dataset;
use dismax::dataset::{DatasetWriter, WriteOptions};
use dismax_udfs::{Models, register, with_file_tables};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyModule, PyTuple};
use pyo3_arrow::ffi::{ArrayIterator, to_stream_pycapsule};

use crate::batch::Schema;
use crate::error::{Kind, from_arrow, from_dismax, from_query};
use crate::lock::Unlocked;
use crate::preview::Preview;
use crate::provider;
use crate::runtime::{enter, runtime, wait};
use crate::source::Source;
use crate::stream::{Batches, Progress, Reader, Rows, TASK};

/// Time between two calls of a progress function.
const INTERVAL: Duration = Duration::from_millis(200);

/// Names, types, and the cells of each row.
type Shown<'py> = (Vec<String>, Vec<String>, Vec<Vec<Bound<'py, PyAny>>>);

/// Record batches that wait to be written.
const PIECES_TO_WRITE: usize = 4;

/// Where relations are planned that do not come from a session of the user's. One partition keeps their rows in order,
/// and keeps all workers busy.
static SESSION: LazyLock<SessionContext> = LazyLock::new(|| {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.parquet.pushdown_filters = true;
    let session = with_file_tables(SessionContext::new_with_config(config));
    register(&session, Models::new()).expect("without models nothing can fail");
    session
});

/// Rows that are read, scored and computed when somebody asks for them, each time anew.
///
/// ``pl.DataFrame(relation)``, ``pa.table(relation)``, ``pd.DataFrame.from_arrow(relation)``, and ``duckdb.sql("FROM
/// relation")`` read it by the Arrow C stream interface; ``datafusion.SessionContext().register_table("name",
/// relation)`` as a table. ``select``, ``where`` and ``limit`` give other relations, and decide what is computed at
/// all: without a column of scores no image is scored, and a condition on columns of the input is asked first.
///
/// Rows come in the order of the input, unless they are the answer of ``Session.sql``, which has its own.
#[pyclass(frozen, module = "dismax")]
pub struct Relation {
    session: SessionContext,
    plan: Unlocked<LogicalPlan>,
    metadata: HashMap<String, String>,
    files: Arc<Vec<Dataset>>,
    /// Rows of the input, if they are known and no condition leaves some out.
    rows: Option<u64>,
    batch_rows: Option<usize>,
    /// Whether the input can be read one time only.
    once: bool,
}

impl Relation {
    /// The rows of a plan that reads `source`; the metadata are those of `schema`.
    pub fn of_plan(plan: LogicalPlan, schema: &ArrowSchema, source: Source, batch_rows: Option<usize>) -> Self {
        Self {
            session: SESSION.clone(),
            plan: plan.into(),
            metadata: schema.metadata().clone(),
            files: Arc::new(source.files),
            rows: source.rows,
            batch_rows,
            once: source.once,
        }
    }

    /// All rows of `source`.
    pub fn of_source(source: Source) -> PyResult<Self> {
        let schema = source.table.schema();
        let table = datafusion::datasource::provider_as_source(Arc::clone(&source.table));
        let plan = LogicalPlanBuilder::scan("rows", table, None).and_then(LogicalPlanBuilder::build);
        Ok(Self::of_plan(plan.map_err(|error| from_query(&error))?, &schema, source, None))
    }

    /// The answer of a query in `session`.
    pub fn of_query(session: SessionContext, plan: LogicalPlan) -> Self {
        Self {
            session,
            plan: plan.into(),
            metadata: HashMap::new(),
            files: Arc::default(),
            rows: None,
            batch_rows: None,
            once: false,
        }
    }

    /// The relation as data for something else.
    pub fn as_source(&self) -> Source {
        let table = Arc::new(ViewTable::new(LogicalPlan::clone(&self.plan), None));
        Source { table, files: self.files.to_vec(), rows: self.rows, dataset: None, once: self.once }
    }

    fn frame(&self) -> DataFrame {
        let mut state = self.session.state();
        // A column is called what it is called, wherever the relation comes from.
        state.config_mut().options_mut().sql_parser.enable_ident_normalization = false;
        DataFrame::new(state, LogicalPlan::clone(&self.plan))
    }

    fn with(&self, plan: LogicalPlan, rows: Option<u64>) -> Self {
        Self {
            session: self.session.clone(),
            plan: plan.into(),
            metadata: self.metadata.clone(),
            files: Arc::clone(&self.files),
            rows,
            batch_rows: self.batch_rows,
            once: self.once,
        }
    }

    fn arrow_schema(&self) -> SchemaRef {
        let schema = self.plan.schema().as_arrow().clone();
        let mut metadata = schema.metadata().clone();
        metadata.extend(self.metadata.clone());
        Arc::new(schema.with_metadata(metadata))
    }

    /// Begins a reading.
    fn read(&self, py: Python<'_>) -> PyResult<Rows> {
        enter()?;
        let stream = wait(py, self.frame().execute_stream())?.map_err(|error| from_query(&error))?;
        // A plan knows better than its logical form what may be null.
        let schema = stream.schema().as_ref().clone();
        let mut metadata = schema.metadata().clone();
        metadata.extend(self.metadata.clone());
        Ok(Rows::new(stream, Arc::new(schema.with_metadata(metadata)), self.batch_rows))
    }

    fn write_to(&self, py: Python<'_>, path: &str, overwrite: bool, progress: Option<&Py<PyAny>>) -> PyResult<u64> {
        for dataset in self.files.iter() {
            dataset.require_not_read(path).map_err(|error| from_dismax(&error))?;
        }
        let mut rows = self.read(py)?;
        let schema = rows.schema();
        let options = WriteOptions { overwrite, ..WriteOptions::default() };
        let mut writer =
            py.detach(|| DatasetWriter::create(path, &schema, &options)).map_err(|error| from_dismax(&error))?;
        let (mut read, mut told) = (0u64, Instant::now());
        thread::scope(|scope| {
            // Encoded beside the reading: the workers would wait for this thread otherwise.
            let (sender, pieces) = bounded::<RecordBatch>(PIECES_TO_WRITE);
            let writing = scope.spawn(move || {
                let mut written = 0;
                for piece in pieces {
                    written += piece.num_rows() as u64;
                    writer.write(&piece)?;
                }
                Ok((writer, written))
            });
            let reading = wait(py, async {
                while let Some(piece) = rows.next_piece().await {
                    let piece = piece.map_err(|error| from_query(&error))?;
                    read += piece.num_rows() as u64;
                    if sender.send(piece).is_err() {
                        // The writer says why it ended.
                        break;
                    }
                    if let Some(call) = progress.filter(|_| told.elapsed() >= INTERVAL) {
                        told = Instant::now();
                        Python::attach(|py| call.call1(py, (TASK, read, self.rows, 0)))?;
                    }
                }
                PyResult::Ok(())
            });
            drop(sender);
            let ended = || Err(dismax::Error::Internal("the writing thread ended unexpectedly".into()));
            let written = py.detach(|| writing.join().unwrap_or_else(|_| ended()));
            reading??;
            let (writer, written) = written.map_err(|error| from_dismax(&error))?;
            py.detach(|| writer.finish()).map_err(|error| from_dismax(&error))?;
            if let Some(call) = progress {
                call.call1(py, (TASK, written, Some(written), 0))?;
            }
            Ok(written)
        })
    }

    /// Lets a library of Python read all rows.
    fn collect<'py>(
        &self,
        py: Python<'py>,
        progress: Option<bool>,
        library: &str,
        read: impl FnOnce(&Bound<'py, PyModule>, Stream) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let library = py.import(library)?;
        with_bar(py, progress, |bar| {
            let progress = bar.map(|bar| Progress::new(bar.clone_ref(py), self.rows));
            let mut reader = Reader::new(self.read(py)?, progress);
            let failure = reader.failure();
            let rows = read(&library, Stream(Mutex::new(Some(reader))));
            // The library tells what went wrong in its own way; the error itself says more.
            match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(failure) => Err(failure),
                None => rows,
            }
        })
    }

    /// A column by its name, or whatever SQL says.
    fn expression(&self, frame: &DataFrame, text: &str) -> PyResult<Expr> {
        match frame.schema().qualified_fields_with_unqualified_name(text).as_slice() {
            [field] => Ok(Expr::Column((*field).into())),
            _ => frame.parse_sql_expr(text).map_err(|error| from_query(&error)),
        }
    }
}

#[pymethods]
impl Relation {
    /// Names and types of the columns.
    #[getter]
    fn schema(&self) -> Schema {
        Schema(self.arrow_schema())
    }

    /// Names of the columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.plan.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// A relation of these columns: names, or expressions in SQL such as ``"1 - confidence AS doubt"``.
    #[pyo3(signature = (*columns))]
    fn select(&self, columns: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let frame = self.frame();
        let texts = columns.iter().map(|column| column.extract::<String>()).collect::<PyResult<Vec<_>>>()?;
        if texts.is_empty() {
            return Err(Kind::Usage.raise("select() takes at least one column"));
        }
        let exprs = texts.iter().map(|text| self.expression(&frame, text)).collect::<PyResult<Vec<_>>>()?;
        let plan = frame.select(exprs).map_err(|error| from_query(&error))?.into_unoptimized_plan();
        Ok(self.with(plan, self.rows))
    }

    /// A relation of the rows for which a condition in SQL is true, such as ``"is_ood AND source = 'camera 2'"``. A
    /// name that is no plain word goes in double quotes: ``'"my column" > 3'``.
    #[pyo3(name = "where")]
    fn filter(&self, condition: &str) -> PyResult<Self> {
        let frame = self.frame();
        let expr = self.expression(&frame, condition)?;
        let plan = frame.filter(expr).map_err(|error| from_query(&error))?.into_unoptimized_plan();
        Ok(self.with(plan, None))
    }

    /// A relation of the first ``rows`` rows, after ``offset`` rows.
    #[pyo3(signature = (rows, offset=0))]
    fn limit(&self, rows: usize, offset: usize) -> PyResult<Self> {
        let plan = self.frame().limit(offset, Some(rows)).map_err(|error| from_query(&error))?.into_unoptimized_plan();
        let left = self.rows.map(|all| all.saturating_sub(offset as u64).min(rows as u64));
        Ok(self.with(plan, left))
    }

    /// Number of rows. Nothing is scored, unless a condition needs it.
    fn count(&self, py: Python<'_>) -> PyResult<usize> {
        enter()?;
        wait(py, self.frame().count())?.map_err(|error| from_query(&error))
    }

    /// How the rows are computed. With ``analyze`` they are, and each step says how long it took and how many images it
    /// scored.
    #[pyo3(signature = (analyze=false))]
    fn explain(&self, py: Python<'_>, analyze: bool) -> PyResult<String> {
        enter()?;
        let query = async {
            if !analyze {
                let plan = self.frame().create_physical_plan().await?;
                return Ok(displayable(plan.as_ref()).indent(false).to_string());
            }
            // Columns: what kind of plan, and the plan.
            let explained = self.frame().explain(false, true)?.collect().await?;
            let plans = explained.iter().flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten());
            Ok(plans.collect::<Vec<_>>().join("\n"))
        };
        wait(py, query)?.map_err(|error: DataFusionError| from_query(&error))
    }

    /// Writes the rows to a file (``.parquet``, ``.arrow``, ``.feather``, ``.arrows``) or the address of an object. It
    /// appears when it is complete, or not at all. Returns the number of rows.
    ///
    /// ``overwrite`` replaces an existing file. ``progress`` shows a bar, or not; without it one is shown in terminals
    /// and notebooks.
    #[pyo3(signature = (path, *, overwrite=false, progress=None))]
    fn write(&self, py: Python<'_>, path: PathBuf, overwrite: bool, progress: Option<bool>) -> PyResult<u64> {
        let path = path.to_str().ok_or_else(|| Kind::Usage.raise(format!("{} is not UTF-8", path.display())))?;
        with_bar(py, progress, |bar| self.write_to(py, path, overwrite, bar))
    }

    /// All rows as a table of pyarrow.
    #[pyo3(signature = (*, progress=None))]
    fn to_arrow<'py>(&self, py: Python<'py>, progress: Option<bool>) -> PyResult<Bound<'py, PyAny>> {
        self.collect(py, progress, "pyarrow", |pyarrow, stream| pyarrow.call_method1("table", (stream,)))
    }

    /// All rows as a data frame of polars.
    #[pyo3(signature = (*, progress=None))]
    fn to_polars<'py>(&self, py: Python<'py>, progress: Option<bool>) -> PyResult<Bound<'py, PyAny>> {
        self.collect(py, progress, "polars", |polars, stream| polars.call_method1("DataFrame", (stream,)))
    }

    /// All rows as a data frame of pandas.
    #[pyo3(signature = (*, progress=None))]
    fn to_pandas<'py>(&self, py: Python<'py>, progress: Option<bool>) -> PyResult<Bound<'py, PyAny>> {
        self.collect(py, progress, "pyarrow", |pyarrow, stream| {
            pyarrow.call_method1("table", (stream,))?.call_method0("to_pandas")
        })
    }

    /// The rows as texts and thumbnails: names, types, and a list for each row.
    #[pyo3(name = "_preview")]
    fn preview<'py>(&self, py: Python<'py>) -> PyResult<Shown<'py>> {
        enter()?;
        let batches = wait(py, self.frame().collect())?.map_err(|error| from_query(&error))?;
        let preview = py.detach(|| Preview::of(&batches)).map_err(|error| from_arrow(&error))?;
        let schema = self.arrow_schema();
        let types = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
        Ok((self.columns(), types, preview.to_python(py)))
    }

    fn _repr_html_<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if this.get().once {
            // To show rows would take them away.
            return Ok(this.py().None().into_bound(this.py()));
        }
        this.py().import("dismax._html")?.call_method1("relation", (this,))
    }

    fn __reduce__(&self) -> PyResult<()> {
        let message = "a relation cannot be pickled; pickle its model, and name the data in the other process";
        Err(PyTypeError::new_err(message))
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<Batches> {
        Ok(Batches::new(self.read(py)?))
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        export(py, Reader::new(self.read(py)?, None), requested_schema)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(pyo3_arrow::ffi::to_schema_pycapsule(py, self.arrow_schema().as_ref())?)
    }

    /// For ``datafusion.SessionContext.register_table``.
    fn __datafusion_table_provider__<'py>(
        &self,
        py: Python<'py>,
        session: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let table =
            provider::Planned::new(self.session.clone(), LogicalPlan::clone(&self.plan), runtime()?.handle().clone());
        provider::capsule(py, Arc::new(table) as Arc<dyn TableProvider>, runtime()?.handle(), session)
    }

    fn __repr__(&self) -> String {
        format!("<dismax.Relation: {}>", self.columns().join(", "))
    }

    fn __len__(&self) -> PyResult<usize> {
        Err(PyTypeError::new_err("a relation has no length before it is read; count() reads it"))
    }
}

/// One reading of a relation, for a library that reads the Arrow C stream interface.
#[pyclass(frozen, module = "dismax")]
pub struct Stream(Mutex<Option<Reader>>);

#[pymethods]
impl Stream {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let reader = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let reader = reader.ok_or_else(|| Kind::Usage.raise("this reading was handed out already"))?;
        export(py, reader, requested_schema)
    }
}

/// Does something with a bar, if one is to be shown.
fn with_bar<T>(
    py: Python<'_>,
    wanted: Option<bool>,
    work: impl FnOnce(Option<&Py<PyAny>>) -> PyResult<T>,
) -> PyResult<T> {
    let bar = py.import("dismax._progress")?.call_method1("bar", (wanted,))?;
    if bar.is_none() {
        return work(None);
    }
    let result = work(Some(bar.as_unbound()));
    bar.call_method0("close")?;
    result
}

fn export<'py>(
    py: Python<'py>,
    reader: Reader,
    requested_schema: Option<Bound<'py, PyCapsule>>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = reader.schema();
    let field = Field::new_struct("", schema.fields().clone(), false).with_metadata(schema.metadata().clone());
    let arrays = reader.map(|batch| batch.map(|batch| Arc::new(StructArray::from(batch)) as ArrayRef));
    Ok(to_stream_pycapsule(py, Box::new(ArrayIterator::new(arrays, Arc::new(field))), requested_schema)?)
}
