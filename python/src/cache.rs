//! The scores that this process remembers, for functions and sessions.

use std::sync::{Arc, LazyLock};

use dismax_udfs::ScoreCache;
use pyo3::prelude::*;
use pyo3::types::PyDict;

static CACHE: LazyLock<Arc<ScoreCache>> = LazyLock::new(Arc::default);

/// The one of this process.
pub fn shared() -> Arc<ScoreCache> {
    Arc::clone(&CACHE)
}

/// What the process remembers of images that were scored in SQL: a dict of ``images``, ``bytes`` and ``max_bytes``.
///
/// Scores are kept by the model's digest and the image's, so that a filter and a projection, or a second query, do not
/// score an image again. Relations keep nothing: they score once in each reading.
#[pyfunction]
pub fn score_cache(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let about = PyDict::new(py);
    about.set_item("images", CACHE.images())?;
    about.set_item("bytes", CACHE.bytes())?;
    about.set_item("max_bytes", CACHE.max_bytes())?;
    Ok(about)
}

/// Sets how many bytes of scores the process remembers. It begins with 256 MiB, which is more than a million images
/// with ten classes; 0 remembers nothing.
#[pyfunction]
pub fn set_score_cache(max_bytes: usize) {
    CACHE.set_max_bytes(max_bytes);
}

/// Forgets all remembered scores.
#[pyfunction]
pub fn clear_score_cache() {
    CACHE.clear();
}
