//! What tells an audit's folder, or a comparison's, from others.

use std::path::Path;

use serde::Deserialize;

/// Name of the summary in the folder.
pub(super) const FILE: &str = "summary.json";
/// What the field `format` of an audit's summary says.
pub(super) const AUDIT: &str = "dismax audit";
/// What that of a comparison says.
pub(super) const COMPARISON: &str = "dismax audit comparison";

/// What says that a file is a summary.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    format: String,
    pub format_version: u32,
}

impl Version {
    pub fn of(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|version: &Self| version.format == AUDIT || version.format == COMPARISON)
    }
}

/// Whether a folder holds an audit or a comparison of two.
pub(super) fn is_audit(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join(FILE)).ok().and_then(|text| Version::of(&text)).is_some()
}
