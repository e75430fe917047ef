//! The figures of all epochs so far, in a file beside the bundle that is replaced whole after every epoch.

use std::path::{Path, PathBuf};

use dismax::error::Result;
use dismax::model::{EpochRecord, json_lines};

use super::checkpoint::write_atomically;

/// Where a training that writes its bundle to `out` keeps the figures of its epochs while it runs: one JSON object a
/// line. The finished bundle has them as `metrics.jsonl`.
pub fn metrics_path(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".metrics.jsonl");
    out.with_file_name(name)
}

/// Replaces the file.
///
/// # Errors
/// [`Error::Io`](dismax::Error::Io) if that fails; the old file is then still whole.
pub(super) fn write_metrics(path: &Path, history: &[EpochRecord]) -> Result<()> {
    write_atomically(path, json_lines(history)?.as_bytes())
}
