//! What a worker says of itself before it is given work.

use serde::{Deserialize, Serialize};

use crate::work::Needed;

/// Release of this crate: plans and parts are understood by workers of the same release.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What a worker is and has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its release of this project.
    pub release: String,
    /// Changes whenever it is started.
    pub start: String,
    /// Arithmetic of its networks: `f32` or `f16`.
    pub precision: String,
    /// Its models by name and digest.
    pub models: Vec<(String, String)>,
    /// Whether it fetches models that it lacks.
    pub has_store: bool,
}

impl WorkerInfo {
    /// Why a worker cannot score with a model; none where it can.
    pub(crate) fn lacks(&self, model: &Needed) -> Option<String> {
        if self.has_store || self.models.iter().any(|(_, digest)| *digest == model.digest) {
            return None;
        }
        let Needed { name, digest, .. } = model;
        Some(match self.models.iter().find(|(other, _)| other == name) {
            Some((_, other)) => {
                format!("its model '{name}' is another one ({}, not {})", short(other), short(digest))
            }
            None => format!("it has no model '{name}' ({}) and no store to fetch it from", short(digest)),
        })
    }
}

/// The beginning of a digest.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
