//! The SQL functions for the sessions of another DataFusion.

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion_ffi::udaf::FFI_AggregateUDF;
use datafusion_ffi::udf::FFI_ScalarUDF;
use datafusion_ffi::udwf::FFI_WindowUDF;
use dismax_udfs::Models;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};

use crate::cache;
use crate::error::from_dismax;
use crate::lock::Unlocked;
use crate::model::Model;
use crate::provider;
use crate::runtime::enter;

/// A scoring function of DataFusion: ``ctx.register_udf(datafusion.udf(function))``.
#[pyclass(frozen, module = "dismax")]
pub struct ScalarFunction(Unlocked<Arc<ScalarUDF>>);

/// An aggregate of DataFusion: ``ctx.register_udaf(datafusion.udaf(function))``.
#[pyclass(frozen, module = "dismax")]
pub struct AggregateFunction(Arc<AggregateUDF>);

/// A window function of DataFusion: ``ctx.register_udwf(datafusion.udwf(function))``.
#[pyclass(frozen, module = "dismax")]
pub struct WindowFunction(Arc<WindowUDF>);

#[pymethods]
impl ScalarFunction {
    /// Its name in SQL.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    fn __datafusion_scalar_udf__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value(py, FFI_ScalarUDF::from(Arc::clone(&self.0)), c"datafusion_scalar_udf")
    }
}

#[pymethods]
impl AggregateFunction {
    /// Its name in SQL.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    fn __datafusion_aggregate_udf__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value(py, FFI_AggregateUDF::from(Arc::clone(&self.0)), c"datafusion_aggregate_udf")
    }
}

#[pymethods]
impl WindowFunction {
    /// Its name in SQL.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    fn __datafusion_window_udf__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value(py, FFI_WindowUDF::from(Arc::clone(&self.0)), c"datafusion_window_udf")
    }
}

/// The three kinds of functions, for models by their names.
type Functions = (Vec<ScalarFunction>, Vec<AggregateFunction>, Vec<WindowFunction>);

/// All functions, which score with these models, for a `datafusion.SessionContext`.
///
/// # Errors
/// `ImportError` for another major release of DataFusion.
#[pyfunction]
#[pyo3(name = "_functions")]
pub fn functions(context: &Bound<'_, PyAny>, models: &Bound<'_, PyDict>) -> PyResult<Functions> {
    enter()?;
    provider::codec(context)?;
    let mut named = Models::new().with_cache(cache::shared());
    for (name, model) in models {
        let model = model.cast::<Model>().map_err(PyErr::from)?;
        named = named.with_stage(name.extract::<String>()?, Arc::clone(&model.get().stage));
    }
    let functions = dismax_udfs::Functions::try_new(named).map_err(|error| from_dismax(&error))?;
    Ok((
        functions.scalar.into_iter().map(|function| ScalarFunction(function.into())).collect(),
        functions.aggregate.into_iter().map(AggregateFunction).collect(),
        functions.window.into_iter().map(WindowFunction).collect(),
    ))
}
