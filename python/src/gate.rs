//! Rules for the findings of an audit.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::audit::{parsed, review};
use crate::error::{Kind, from_dismax};
use crate::runtime::watch;

/// The outcome as JSON, a sentence about each rule, and what is written for people and for build servers.
type Outcome = (String, Vec<String>, String, String);

/// Counts the findings of an audit under rules. `dismax.Audit.check` says what the arguments are.
#[pyfunction]
#[pyo3(name = "_gate")]
pub fn gate(
    py: Python<'_>,
    audit: PathBuf,
    rules: Vec<String>,
    accept: Vec<PathBuf>,
    baseline: Option<PathBuf>,
) -> PyResult<Outcome> {
    let (rules, review) = (parsed(&rules)?, review(&accept, baseline)?);
    let report = watch(py, None, None, |run, _| dismax_audit::gate(&audit, &rules, &review, &run.cancel))?;
    let json = serde_json::to_string(&report).map_err(|error| Kind::Other.raise(format!("rules as JSON: {error}")))?;
    let sentences = report.rules.iter().map(ToString::to_string).collect();
    Ok((json, sentences, report.markdown(), report.junit().map_err(|error| from_dismax(&error))?))
}
