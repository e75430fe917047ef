//! Models, with the workers that score with them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use dismax::Device;
use dismax::dataset::LoadOptions;
use dismax::image::Limits;
use dismax::model::Model as Bundle;
use dismax::stage::{Stage, StageOptions};
use dismax_udfs::{ScoredOptions, scored};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Kind, from_dismax, from_query};
use crate::input;
use crate::lock::Unlocked;
use crate::relation::Relation;
use crate::runtime::watch;

/// Most rows that a record batch may be asked to have: memory for them is taken at once.
const MAX_BATCH_ROWS: usize = 1 << 22;

/// How a model was opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Opened {
    path: PathBuf,
    device: String,
    workers: usize,
    max_pixels: Option<u64>,
    read_paths: bool,
}

/// Stages by how they were opened and by the digests of their models.
type Stages = HashMap<(Opened, String), Arc<Stage>>;

/// Models that came out of a pickle: a worker process unpickles one for every task.
static UNPICKLED: LazyLock<Mutex<Stages>> = LazyLock::new(Mutex::default);

/// What opens a pickled model again, and with what.
type Reduced<'py> = (Bound<'py, PyAny>, (PathBuf, String, Bound<'py, PyDict>));

/// A trained and calibrated network, ready to score.
///
/// Parameters
/// ----------
/// path : str or os.PathLike
///     The model's folder, as ``dismax train`` writes it. Its checksums are checked, and on the device that it gives the
///     outputs that it gave where it was made.
/// device : str
///     ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"cuda:all"``.
/// workers : int, optional
///     Threads that decode images, and on a CPU run the network: one per core unless given.
/// max_pixels : int, optional
///     Pixels of an image, width times height, above which it is an error of its row. 100 million unless given.
/// read_paths : bool
///     Whether files are opened that rows name.
///
/// One model serves any number of threads, relations and sessions at once. It can be pickled: it is then opened again
/// at the same path, which must hold the same model.
#[pyclass(frozen, module = "dismax")]
pub struct Model {
    pub stage: Unlocked<Arc<Stage>>,
    opened: Opened,
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (path, *, device="auto", workers=None, max_pixels=None, read_paths=false))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        device: &str,
        workers: Option<usize>,
        max_pixels: Option<u64>,
        read_paths: bool,
    ) -> PyResult<Self> {
        if workers == Some(0) {
            return Err(Kind::Usage.raise("workers is at least 1"));
        }
        let opened = Opened { path, device: device.to_owned(), workers: workers.unwrap_or(0), max_pixels, read_paths };
        let stage = start(py, &opened)?;
        Ok(Self { stage: Arc::new(stage).into(), opened })
    }

    /// Appends the model's columns to every row of some data: a lazy relation.
    ///
    /// Parameters
    /// ----------
    /// data
    ///     Paths, addresses (``s3://``, ``gs://``, ``az://``, ``https://``, ``hf://``) or patterns of Parquet, Arrow IPC
    ///     and tar files, folders of these or of images, Delta tables, one or a list; an object with
    ///     ``__arrow_c_stream__`` (a table or data frame of pyarrow, polars, pandas, DuckDB); an iterator of record
    ///     batches; a dataset of Hugging Face; a relation.
    /// image : str, optional
    ///     Column with the images; needed only where several would do.
    /// embedding : str, optional
    ///     Column with the embeddings, for a model of embeddings; needed only where several would do.
    /// prefix : str
    ///     Goes in front of the names of the appended columns.
    /// alpha : float, optional
    ///     Share of in-distribution images that ``is_ood`` may flag, in (0, 1). The model's own unless given.
    /// prediction_set : float, optional
    ///     Appends ``prediction_set``, the list of classes that a row may have, so that of the rows of each class at most
    ///     this share lacks it; in (0, 1).
    /// on_bad_file : str
    ///     ``"fail"``, or ``"skip"`` to leave out what cannot be read of damaged files.
    /// batch_rows : int, optional
    ///     Rows of the record batches that come out. Without it 8,192, or fewer where these take more than 32 MiB.
    ///
    /// Returns
    /// -------
    /// Relation
    ///     All rows in their order with all their columns and ``prediction`` (name of the most probable class),
    ///     ``confidence`` (its calibrated probability, in (0, 1]), ``probabilities`` (of every class, in the order of
    ///     ``model.classes``), ``ood_score`` (higher is more out-of-distribution), ``ood_p_value`` (in (0, 1], small is
    ///     out-of-distribution), ``is_ood`` (whether it is at most alpha), and ``error`` (why a row could not be scored;
    ///     the other columns are then null).
    #[pyo3(signature = (
        data, *, image=None, embedding=None, prefix="", alpha=None, prediction_set=None, on_bad_file="fail", batch_rows=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn score(
        &self,
        data: &Bound<'_, PyAny>,
        image: Option<String>,
        embedding: Option<String>,
        prefix: &str,
        alpha: Option<f64>,
        prediction_set: Option<f64>,
        on_bad_file: &str,
        batch_rows: Option<usize>,
    ) -> PyResult<Relation> {
        if batch_rows.is_some_and(|rows| !(1..=MAX_BATCH_ROWS).contains(&rows)) {
            return Err(Kind::Usage.raise(format!("batch_rows is at least 1 and at most {MAX_BATCH_ROWS}")));
        }
        let source = input::source(data, on_bad_file)?;
        if image.is_some() && embedding.is_some() {
            return Err(Kind::Usage.raise("a model scores images or embeddings: give one of the two"));
        }
        let wanted = image.or(embedding);
        let column = match &source.dataset {
            // Files may say themselves where their images are.
            Some(dataset) => {
                let column = self.stage.model().input_column(dataset, wanted.as_deref(), &self.stage.load_options());
                let column = column.map_err(|error| from_dismax(&error))?;
                Some(column.name().to_owned())
            }
            None => wanted,
        };
        let options = ScoredOptions { column, prefix: prefix.to_owned(), alpha, prediction_set };
        let (plan, schema) =
            scored(Arc::clone(&source.table), Arc::clone(&self.stage), &options).map_err(|error| from_query(&error))?;
        Ok(Relation::of_plan(plan, &schema, source, batch_rows))
    }

    /// Scores batches of pyarrow, for the workers of Spark, Ray and Daft.
    ///
    /// An iterator of record batches gives an iterator of record batches, as Spark's ``mapInArrow`` wants it; a table
    /// gives a table, as Ray's ``map_batches(..., batch_format="pyarrow")`` does. The model can be pickled into the
    /// workers, where it is opened once in each process. Dictionaries come out as their values, which every engine has.
    ///
    /// ``columns`` says which columns come out, by name or as SQL expressions; the other arguments are those of
    /// ``score``.
    #[pyo3(signature = (data, columns=None, **options))]
    fn map_batches<'py>(
        this: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        columns: Option<Vec<String>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let options = options.cloned().unwrap_or_else(|| PyDict::new(py));
        py.import("dismax._engines")?.call_method1("map_batches", (this, data, columns, options))
    }

    /// Names of the classes, in the order of ``probabilities``.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.stage.model().classes().to_vec()
    }

    /// The folder that it was opened from.
    #[getter]
    fn path(&self) -> PathBuf {
        self.opened.path.clone()
    }

    /// SHA-256 of the model, 64 hexadecimal digits. Equal digests mean equal models.
    #[getter]
    fn digest(&self) -> &str {
        self.stage.model().digest()
    }

    /// Name of the network's architecture; None for a model of embeddings.
    #[getter]
    fn architecture(&self) -> Option<String> {
        self.stage.model().input().images().map(|images| images.architecture.to_string())
    }

    /// Numbers of an embedding; None for a model of images.
    #[getter]
    fn dimensions(&self) -> Option<usize> {
        self.stage.model().input().embeddings().map(|embeddings| embeddings.dimensions)
    }

    /// Temperature by which logits are divided.
    #[getter]
    fn temperature(&self) -> PyResult<f32> {
        let calibration = self.stage.model().require_calibration().map_err(|error| from_dismax(&error))?;
        Ok(calibration.temperature)
    }

    /// Share of in-distribution images that ``is_ood`` may flag.
    #[getter]
    fn alpha(&self) -> PyResult<f64> {
        let calibration = self.stage.model().require_calibration().map_err(|error| from_dismax(&error))?;
        Ok(calibration.alpha)
    }

    /// Figures that were measured when it was made, as in ``metrics.json``.
    #[getter]
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let text = serde_json::to_string(self.stage.model().metrics()).expect("JSON values can be written");
        py.import("json")?.call_method1("loads", (text,))
    }

    /// Images that were decoded and scored since the model was opened.
    #[getter]
    fn images_scored(&self) -> u64 {
        self.stage.stats().scored
    }

    fn __repr__(&self) -> String {
        let model = self.stage.model();
        format!(
            "<dismax.Model {}: {}, {} classes, digest {}>",
            self.opened.path.display(),
            model.input(),
            model.classes().len(),
            model.digest().get(..12).unwrap_or_default()
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let path = self.opened.path.canonicalize().unwrap_or_else(|_| self.opened.path.clone());
        let options = PyDict::new(py);
        options.set_item("device", &self.opened.device)?;
        options.set_item("workers", (self.opened.workers > 0).then_some(self.opened.workers))?;
        options.set_item("max_pixels", self.opened.max_pixels)?;
        options.set_item("read_paths", self.opened.read_paths)?;
        let open = py.import("dismax._engines")?.getattr("open_pickled")?;
        Ok((open, (path, self.digest().to_owned(), options)))
    }
}

fn start(py: Python<'_>, opened: &Opened) -> PyResult<Stage> {
    let device: Device = opened.device.parse().map_err(|error| from_dismax(&error))?;
    watch(py, None, None, |_, _| {
        let model = Bundle::read(&opened.path)?;
        model.require_calibration()?;
        let limits = opened.max_pixels.map_or_else(Limits::default, |max_pixels| Limits { max_pixels });
        let load = LoadOptions { limits, read_paths: opened.read_paths, ..LoadOptions::default() };
        Stage::try_new(model, &StageOptions { device, workers: opened.workers, load, ..StageOptions::default() })
    })
}

/// Opens a pickled model again, once in a process.
#[pyfunction]
#[pyo3(name = "_unpickle_model")]
pub fn unpickle(py: Python<'_>, path: PathBuf, digest: String, options: &Bound<'_, PyDict>) -> PyResult<Model> {
    let option = |name: &str| options.get_item(name).map(|value| value.expect("__reduce__ writes it"));
    let opened = Opened {
        path,
        device: option("device")?.extract()?,
        workers: option("workers")?.extract::<Option<usize>>()?.unwrap_or(0),
        max_pixels: option("max_pixels")?.extract()?,
        read_paths: option("read_paths")?.extract()?,
    };
    crate::runtime::enter()?;
    let key = (opened, digest);
    let known = || UNPICKLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stage) = known().get(&key) {
        return Ok(Model { stage: Arc::clone(stage).into(), opened: key.0 });
    }
    let stage = Arc::new(start(py, &key.0)?);
    if stage.model().digest() != key.1 {
        let (path, theirs) = (key.0.path.display(), &key.1);
        return Err(Kind::Model.raise(format!("{path}: another model than the one that was pickled ({theirs})")));
    }
    known().insert(key.clone(), Arc::clone(&stage));
    Ok(Model { stage: stage.into(), opened: key.0 })
}
