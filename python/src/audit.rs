//! Audits.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use dismax::Dataset;
use dismax::stage::DecodeOptions;
use dismax_audit::{Acceptances, AuditError, AuditInputs, AuditOptions, Marks, ReviewOptions};
use pyo3::prelude::*;

use crate::error::{from_arrow, from_dismax, from_query};
use crate::ipc::IpcBytes;
use crate::model::Model;
use crate::runtime::watch;
use crate::source::{PythonTable, open, paths};

/// Stands for rows that came from no file, in messages and in the audit.
pub const TABLE: &str = "<table>";

/// The arguments of `dismax.audit` that say what is looked at besides the data, and how.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Arguments<'py> {
    reference: Option<Bound<'py, PyAny>>,
    unknown: Option<Bound<'py, PyAny>>,
    marks: Vec<PathBuf>,
    label: Option<String>,
    image: Option<String>,
    group_by: Vec<String>,
    time: Option<String>,
    fdr: f64,
    top: usize,
    fail_on: Vec<String>,
    accept: Vec<PathBuf>,
    baseline: Option<PathBuf>,
    rows: Option<String>,
    history: Option<PathBuf>,
    overwrite: bool,
    on_bad_file: String,
    command: String,
}

/// Audits some data into a folder. `dismax.audit` says what the arguments are.
#[pyfunction]
#[pyo3(name = "_audit")]
pub fn audit(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    model: Option<&Bound<'_, Model>>,
    out: PathBuf,
    given: Arguments<'_>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let options = AuditOptions {
        label: given.label,
        group_by: given.group_by,
        time: given.time,
        fdr: given.fdr,
        top: given.top,
        force: given.overwrite,
        command: given.command,
        review: review(&given.accept, given.baseline)?,
        rules: parsed(&given.fail_on)?,
        rows: given.rows,
        history: given.history,
    };
    let open = |data: &Bound<'_, PyAny>, name: &str| -> PyResult<_> {
        Ok(dataset(data, name, &given.on_bad_file)?.with_image_column(given.image.clone()))
    };
    let dataset = open(data, TABLE)?;
    let reference = given.reference.map(|data| open(&data, "reference")).transpose()?;
    let unknown = given.unknown.map(|data| open(&data, "unknown")).transpose()?;
    let mut marks = None;
    for file in &given.marks {
        marks.get_or_insert_with(Marks::default).add(file).map_err(|error| from_dismax(&error))?;
    }
    let stage = model.map(|model| Arc::clone(&model.get().stage));
    watch(py, progress, None, |run, _| {
        let (reference, unknown) = (reference.as_ref(), unknown.as_ref());
        let inputs = AuditInputs { reference, unknown, marks: marks.as_ref(), dataset: &dataset };
        match &stage {
            Some(stage) => dismax_audit::audit(&**stage, &inputs, &out, &options, run),
            None => dismax_audit::audit_images(&DecodeOptions::default(), &inputs, &out, &options, run),
        }
    })?;
    Ok(())
}

/// Files as they lie, everything else as a stream of its rows.
pub fn dataset(data: &Bound<'_, PyAny>, name: &str, on_bad_file: &str) -> PyResult<Dataset> {
    if let Some(paths) = paths(data)? {
        return open(data.py(), &paths, on_bad_file);
    }
    let table = PythonTable::try_new(data)?;
    let schema = Arc::clone(table.schema());
    let reading = table.begin().map_err(|error| from_query(&error))?;
    let bytes = IpcBytes::try_new(&schema, reading).map_err(|error| from_arrow(&error))?;
    data.py().detach(|| Dataset::from_stream(name, bytes)).map_err(|error| from_dismax(&error))
}

/// What findings are compared with.
pub fn review(accept: &[PathBuf], baseline: Option<PathBuf>) -> PyResult<ReviewOptions> {
    let accepted = Acceptances::read(accept).map_err(|error| from_dismax(&error))?;
    Ok(ReviewOptions { baseline, accepted })
}

/// Rules, or selections of findings.
pub fn parsed<T: FromStr<Err = AuditError>>(words: &[String]) -> PyResult<Vec<T>> {
    words.iter().map(|word| word.parse().map_err(|error: AuditError| from_dismax(&error.into()))).collect()
}
