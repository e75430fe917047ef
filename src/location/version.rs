//! Telling one state of a file from another.

use std::fs;

use serde::{Deserialize, Serialize};

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Bytes.
    pub size: u64,
    /// The object's ETag, or the time of the last change in nanoseconds since 1970.
    pub tag: String,
}

impl Version {
    /// Of a file that is said to be there and was not found.
    pub fn unknown() -> Self {
        Self { size: 0, tag: String::new() }
    }

    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Self { size: metadata.len(), tag: changed.map_or(0, |time| time.as_nanos()).to_string() }
    }
}
