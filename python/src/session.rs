//! SQL over models and tables.

use std::sync::Arc;

use datafusion::execution::config::SessionConfig;
use datafusion::prelude::SessionContext;
use dismax_udfs::{Models, register, with_file_tables};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::cache;
use crate::error::{Kind, from_dismax, from_query};
use crate::input;
use crate::lock::Unlocked;
use crate::model::Model;
use crate::relation::Relation;
use crate::runtime::{enter, wait};

/// SQL over models and tables.
///
/// Each keyword argument names a model, for the scoring functions, or data, as a table; one model alone can be given
/// without a name. Files are tables by their names: ``FROM 'photos/*.parquet'``.
///
///     db = dismax.Session(new=dismax.Model("new"), old=dismax.Model("old"), photos=frame)
///     db.sql("SELECT * FROM photos WHERE dismax_prediction(img, 'new') <> dismax_prediction(img, 'old')")
///
/// Scoring functions take an image column, and the model's name where there are several: ``dismax_prediction``,
/// ``dismax_confidence``, ``dismax_probabilities``, ``dismax_ood_score``, ``dismax_ood_p_value``,
/// ``dismax_is_ood(image, alpha)``, ``dismax_error``, and ``dismax`` for all of them as a struct.
/// ``dismax_score('FILE')`` is a table with the scores appended. Aggregates: ``ece``, ``brier``, ``auroc``,
/// ``average_precision``, ``fpr_at_tpr``; ``bh_reject(p_value, q) OVER ()`` as a window function.
///
/// ``dismax_top_k(image, k)`` and ``dismax_prediction_set(image, alpha)`` give classes; ``dismax_image_info(image)``
/// and ``dismax_hash_distance(a, b)`` need no model. ``CREATE MODEL name FROM 'folder'`` and ``DROP MODEL name`` change
/// which models there are, ``dismax_models()`` and ``dismax_metrics()`` are tables of them.
///
/// A query scores each image once, and only if no cheaper condition leaves it out. Scores are remembered
/// (``dismax.score_cache()``), so that the next query finds them.
#[pyclass(frozen, module = "dismax")]
pub struct Session {
    context: Unlocked<SessionContext>,
}

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (model=None, /, **named))]
    fn new(model: Option<Bound<'_, Model>>, named: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        enter()?;
        let mut models = Models::new().with_cache(cache::shared());
        if let Some(model) = model {
            models = models.with_stage("model", Arc::clone(&model.get().stage));
        }
        let mut tables = Vec::new();
        for (name, value) in named.into_iter().flatten() {
            let name: String = name.extract()?;
            match value.cast::<Model>() {
                Ok(model) => models = models.with_stage(name, Arc::clone(&model.get().stage)),
                Err(_) => tables.push((name, value)),
            }
        }
        let mut config = SessionConfig::new().with_information_schema(true);
        // Predicates decide which images are read at all, not only which are kept.
        config.options_mut().execution.parquet.pushdown_filters = true;
        config.options_mut().execution.parquet.reorder_filters = true;
        // As nanoseconds, times before 1677 and after 2262 would silently become others.
        config.options_mut().execution.parquet.coerce_int96 = Some("us".into());
        let context = with_file_tables(SessionContext::new_with_config(config));
        register(&context, models).map_err(|error| from_dismax(&error))?;
        let session = Self { context: context.into() };
        for (name, data) in tables {
            session.register(&name, &data)?;
        }
        Ok(session)
    }

    /// Makes data a table, in the place of one that has the name. As data anything goes that ``Model.score`` takes.
    fn register(&self, name: &str, data: &Bound<'_, PyAny>) -> PyResult<()> {
        if data.is_instance_of::<Model>() {
            return Err(Kind::Usage.raise("models are given when the session is made: dismax.Session(name=model)"));
        }
        let source = input::source(data, "fail")?;
        let name = format!("\"{}\"", name.replace('"', "\"\""));
        self.context.deregister_table(name.as_str()).map_err(|error| from_query(&error))?;
        self.context.register_table(name.as_str(), source.table).map_err(|error| from_query(&error))?;
        Ok(())
    }

    /// Plans a query, which runs when its rows are asked for. Statements that change something (``CREATE VIEW``,
    /// ``CREATE MODEL``, ``COPY ... TO``) run at once or when read, as in DataFusion.
    fn sql(&self, py: Python<'_>, query: &str) -> PyResult<Relation> {
        enter()?;
        let frame = wait(py, dismax_udfs::sql(&self.context, query))?.map_err(|error| from_query(&error))?;
        Ok(Relation::of_query(SessionContext::clone(&self.context), frame.into_unoptimized_plan()))
    }

    /// The names of the tables that were given or created.
    #[getter]
    fn tables(&self) -> Vec<String> {
        let catalog = self.context.catalog("datafusion");
        let schema = catalog.and_then(|catalog| catalog.schema("public"));
        schema.map(|schema| schema.table_names()).unwrap_or_default()
    }

    fn __repr__(&self) -> String {
        format!("<dismax.Session: tables {}>", self.tables().join(", "))
    }

    fn __reduce__(&self) -> PyResult<Bound<'_, PyTuple>> {
        Err(pyo3::exceptions::PyTypeError::new_err(
            "a session cannot be pickled; pickle its models and make one in the other process",
        ))
    }
}
