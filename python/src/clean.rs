//! Audited datasets without what was found.

use std::path::{Path, PathBuf};

use dismax::dataset::{LoadOptions, OpenOptions, WriteOptions};
use dismax_audit::{AuditSummary, CleanOptions, Cleaning, RevisitOptions};
use pyo3::prelude::*;

use crate::audit::{TABLE, dataset, parsed, review};
use crate::error::{Kind, from_dismax};
use crate::runtime::watch;
use crate::source::bad_files;

/// The arguments of `dismax.clean` that say what is removed and where the rows are.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Arguments<'py> {
    data: Option<Bound<'py, PyAny>>,
    drop: Vec<String>,
    keep_one: Vec<String>,
    accept: Vec<PathBuf>,
    image: Option<String>,
    read_paths: bool,
    prefix: String,
    overwrite: bool,
    on_bad_file: String,
}

/// Divides the audited rows into two files, or only counts where there are none to write. `dismax.clean` says what the
/// arguments are. Returns the numbers as JSON.
#[pyfunction]
#[pyo3(name = "_clean")]
pub fn clean(
    py: Python<'_>,
    audit: PathBuf,
    outputs: Option<(String, String)>,
    given: Arguments<'_>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let data = given.data.filter(|_| outputs.is_some());
    if data.is_none() && outputs.is_some() {
        require_files(&audit)?;
    }
    let on_bad_file = bad_files(&given.on_bad_file)?;
    let mut options = CleanOptions {
        drop: parsed(&given.drop)?,
        keep_one: given.keep_one.iter().map(|word| kind_of_copies(word)).collect::<PyResult<_>>()?,
        accepted: review(&given.accept, None)?.accepted,
        prefix: given.prefix,
        revisit: RevisitOptions {
            dataset: data.map(|data| dataset(&data, TABLE, &given.on_bad_file)).transpose()?,
            image: given.image,
            load: LoadOptions { read_paths: given.read_paths, ..LoadOptions::default() },
            open: OpenOptions { on_bad_file, ..OpenOptions::default() },
        },
        write: WriteOptions { overwrite: given.overwrite, ..WriteOptions::default() },
    };
    let figures = watch(py, progress, None, |run, _| {
        options.revisit.open.cancel = run.cancel.clone();
        let cleaning = Cleaning::plan(&audit, &options, &run.cancel)?;
        match &outputs {
            Some((kept, removed)) => cleaning.write(kept, removed, run),
            None => Ok(cleaning.figures()),
        }
    })?;
    serde_json::to_string(&figures).map_err(|error| Kind::Other.raise(format!("the numbers as JSON: {error}")))
}

/// Refuses an audit of a table, which has no name to find it by.
fn require_files(audit: &Path) -> PyResult<()> {
    match AuditSummary::read(audit).map_err(|error| from_dismax(&error))?.inputs.as_slice() {
        [only] if only == TABLE => Err(Kind::Usage.raise(format!(
            "{}: its rows came from a table, not from files; give them again: data=table",
            audit.display()
        ))),
        _ => Ok(()),
    }
}

fn kind_of_copies(word: &str) -> PyResult<dismax_audit::Kind> {
    let copies = dismax_audit::Kind::COPIES;
    copies.into_iter().find(|kind| kind.name() == word).ok_or_else(|| {
        let names = copies.map(dismax_audit::Kind::name).join(" and ");
        Kind::Usage.raise(format!("keep_one takes {names}, not \"{word}\""))
    })
}
