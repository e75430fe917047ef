//! What Python gives as data.

use pyo3::prelude::*;

use crate::relation::Relation;
use crate::source::{PythonTable, Source, open, paths};

/// The table that `data` is: paths, something that gives record batches, or a relation.
///
/// # Errors
/// `TypeError` for anything else, `dismax.DataError` for files that cannot be read.
pub fn source(data: &Bound<'_, PyAny>, on_bad_file: &str) -> PyResult<Source> {
    if let Some(paths) = paths(data)? {
        return Ok(Source::of_dataset(open(data.py(), &paths, on_bad_file)?));
    }
    match data.cast::<Relation>() {
        Ok(relation) => Ok(relation.get().as_source()),
        Err(_) => Ok(Source::of_python(PythonTable::try_new(data)?)),
    }
}

/// Data as a relation, without scores: anything that ``Model.score`` takes.
#[pyfunction]
#[pyo3(signature = (data, *, on_bad_file="fail"))]
pub fn read(data: &Bound<'_, PyAny>, on_bad_file: &str) -> PyResult<Relation> {
    Relation::of_source(source(data, on_bad_file)?)
}
