//! Audits.

use std::path::PathBuf;
use std::sync::Arc;

use dismax::Dataset;
use dismax::stage::DecodeOptions;
use dismax_audit::{AuditInputs, AuditOptions, Marks};
use pyo3::prelude::*;

use crate::error::{Kind, from_arrow, from_dismax, from_query};
use crate::ipc::IpcBytes;
use crate::model::Model;
use crate::runtime::watch;
use crate::source::{PythonTable, open, paths};

/// Audits some data into a folder, and returns the summary as JSON. `dismax.audit` says what the arguments are.
#[pyfunction]
#[pyo3(name = "_audit")]
#[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
pub fn audit(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    model: Option<&Bound<'_, Model>>,
    out: PathBuf,
    reference: Option<&Bound<'_, PyAny>>,
    unknown: Option<&Bound<'_, PyAny>>,
    marks: Vec<PathBuf>,
    label: Option<String>,
    image: Option<String>,
    group_by: Vec<String>,
    time: Option<String>,
    fdr: f64,
    top: usize,
    overwrite: bool,
    on_bad_file: &str,
    command: String,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let dataset = dataset(data, "data", on_bad_file)?.with_image_column(image.clone());
    let beside = |data: Option<&Bound<'_, PyAny>>, name: &str| -> PyResult<_> {
        let dataset = data.map(|data| self::dataset(data, name, on_bad_file)).transpose()?;
        Ok(dataset.map(|dataset| dataset.with_image_column(image.clone())))
    };
    let (reference, unknown) = (beside(reference, "reference")?, beside(unknown, "unknown")?);
    let mut given = None;
    for file in &marks {
        given.get_or_insert_with(Marks::default).add(file).map_err(|error| from_dismax(&error))?;
    }
    let options =
        AuditOptions { label, group_by, time, fdr, top, force: overwrite, command, ..AuditOptions::default() };
    let stage = model.map(|model| Arc::clone(&model.get().stage));
    let summary = watch(py, progress, None, |run, _| {
        let (reference, unknown) = (reference.as_ref(), unknown.as_ref());
        let inputs = AuditInputs { reference, unknown, marks: given.as_ref(), dataset: &dataset };
        match &stage {
            Some(stage) => dismax_audit::audit(&**stage, &inputs, &out, &options, run),
            None => dismax_audit::audit_images(&DecodeOptions::default(), &inputs, &out, &options, run),
        }
    })?;
    serde_json::to_string(&summary).map_err(|error| Kind::Other.raise(format!("the summary as JSON: {error}")))
}

/// Files as they lie, everything else as a stream of its rows.
fn dataset(data: &Bound<'_, PyAny>, name: &str, on_bad_file: &str) -> PyResult<Dataset> {
    if let Some(paths) = paths(data)? {
        return open(data.py(), &paths, on_bad_file);
    }
    let table = PythonTable::try_new(data)?;
    let schema = Arc::clone(table.schema());
    let reading = table.begin().map_err(|error| from_query(&error))?;
    let bytes = IpcBytes::try_new(&schema, reading).map_err(|error| from_arrow(&error))?;
    data.py().detach(|| Dataset::from_stream(name, bytes)).map_err(|error| from_dismax(&error))
}
