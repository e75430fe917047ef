//! Schemas and record batches as Python sees them: names, types, sizes, and the Arrow C interface.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch as ArrowBatch, StructArray};
use arrow::datatypes::{Field, SchemaRef};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use pyo3_arrow::ffi::{to_array_pycapsules, to_schema_pycapsule};

/// Column names and types of a relation or a record batch.
///
/// Any library that reads the Arrow C schema interface takes it: ``pyarrow.schema(schema)``.
#[pyclass(frozen, module = "dismax", eq)]
#[derive(PartialEq)]
pub struct Schema(pub SchemaRef);

#[pymethods]
impl Schema {
    /// Names of the columns, in order.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.0.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Arrow types of the columns in words, in order.
    #[getter]
    fn types(&self) -> Vec<String> {
        self.0.fields().iter().map(|field| field.data_type().to_string()).collect()
    }

    /// What the schema says besides its columns, for example which model scored: ``{"dismax.model_digest": ...}``.
    #[getter]
    fn metadata(&self) -> std::collections::HashMap<String, String> {
        self.0.metadata().clone()
    }

    fn __len__(&self) -> usize {
        self.0.fields().len()
    }

    fn __contains__(&self, name: &str) -> bool {
        self.0.column_with_name(name).is_some()
    }

    fn __repr__(&self) -> String {
        let column = |field: &Arc<Field>| format!("{}: {}", field.name(), field.data_type());
        self.0.fields().iter().map(column).collect::<Vec<_>>().join("\n")
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(to_schema_pycapsule(py, self.0.as_ref())?)
    }
}

/// Some rows of a relation.
///
/// Any library that reads the Arrow C data interface takes it: ``pyarrow.record_batch(batch)``,
/// ``polars.DataFrame(batch)``.
#[pyclass(frozen, module = "dismax")]
pub struct RecordBatch(pub ArrowBatch);

#[pymethods]
impl RecordBatch {
    /// Column names and types.
    #[getter]
    fn schema(&self) -> Schema {
        Schema(self.0.schema())
    }

    /// Number of rows.
    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    fn __repr__(&self) -> String {
        format!("<dismax.RecordBatch: {} rows, {} columns>", self.0.num_rows(), self.0.num_columns())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let field = Field::new_struct("", self.0.schema().fields().clone(), false);
        let field = Arc::new(field.with_metadata(self.0.schema().metadata().clone()));
        let rows = StructArray::from(self.0.clone());
        Ok(to_array_pycapsules(py, field, &rows as &dyn Array, requested_schema)?)
    }
}
