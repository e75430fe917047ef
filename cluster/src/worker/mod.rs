//! A worker: a process with models that carries out pieces of plans and writes parts of datasets.

mod allowed;
mod bench;
mod gate;
mod housekeeping;
mod metrics;
mod models;
mod plans;
mod serving;

use std::net::SocketAddr;
use std::path::PathBuf;

use dismax::model::Model;
use dismax::stage::StageOptions;

pub use self::serving::serve;
use crate::security::Security;

/// What a worker is given.
#[derive(Debug, Default)]
pub struct WorkerOptions {
    /// Where it listens; any free port where the port is 0.
    pub listen: Option<SocketAddr>,
    /// Its models under the names that they are expected to have.
    pub models: Vec<(String, Model)>,
    /// A folder or an address with a bundle under the digest of each model, for models that it lacks.
    pub store: Option<String>,
    /// Folders and addresses that it may read and write in: everything below them.
    pub allowed: Vec<String>,
    /// Bytes that queries may hold; any number where none is given. Networks and images in flight are not among them.
    pub memory: Option<u64>,
    /// How it scores.
    pub stage: StageOptions,
    /// What coordinators must show, and how it knows other workers.
    pub security: Security,
    /// Files (PEM) of its certificate and of the key; without them it speaks without TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}
