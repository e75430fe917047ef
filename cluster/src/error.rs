//! What can go wrong between machines.

use datafusion::common::DataFusionError;

/// Result of the fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a cluster cannot do what it is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that the caller chose cannot be: an address, a token, a certificate.
    #[error("{0}")]
    Config(String),
    /// A worker does not answer any more, or never did.
    #[error("worker {worker} does not answer: {reason}")]
    Lost {
        /// Its address.
        worker: String,
        /// What the network says.
        reason: String,
    },
    /// A worker answers, and refuses.
    #[error("worker {worker} refuses: {reason}")]
    Refused {
        /// Its address.
        worker: String,
        /// Why.
        reason: String,
    },
    /// No worker can take part.
    #[error("no worker can take part: {reasons}")]
    NoWorkers {
        /// Of each worker why it cannot.
        reasons: String,
    },
    /// A piece of a job failed on every worker that tried it.
    #[error("{piece}: {reason} (on worker {worker})")]
    Piece {
        /// What it is called: the name of a part.
        piece: String,
        /// The worker that tried last.
        worker: String,
        /// What it said.
        reason: String,
    },
    /// The scoring library failed on this machine.
    #[error(transparent)]
    Dismax(#[from] dismax::Error),
    /// The query engine failed.
    #[error(transparent)]
    Query(#[from] DataFusionError),
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Query(error) => error,
            Error::Dismax(error) => Self::External(Box::new(error)),
            error => Self::External(Box::new(error)),
        }
    }
}

impl From<Error> for dismax::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Dismax(error) => error,
            Error::Config(message) => Self::Config(message),
            error => Self::Extension(Box::new(error)),
        }
    }
}
