//! Which model an audit was made with.

use serde::{Deserialize, Serialize};

/// Which model was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Its folder.
    pub path: String,
    /// Digest of its files.
    pub digest: String,
    /// Its network.
    pub architecture: String,
    /// Its classes.
    pub classes: Vec<String>,
}
