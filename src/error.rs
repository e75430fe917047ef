//! What can go wrong: a run's failure ([`Error`]) and one row's failure ([`RowError`]) are different things.
//!
//! A run that fails stops. A row that fails keeps its input columns, gets nulls for its scores and the
//! [`RowError`] as text in the column `error`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Result of the fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run cannot go on. The message names the file, column or row and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A dataset cannot be used: wrong columns, wrong types, damaged files.
    #[error("{origin}: {message}")]
    Data {
        /// File, column or row the message is about.
        origin: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A Parquet file cannot be read or written.
    #[error("{origin}: {source}")]
    Parquet {
        /// The file.
        origin: String,
        /// The Parquet library's answer.
        source: parquet::errors::ParquetError,
    },
    /// An Arrow array, schema or IPC stream cannot be used.
    #[error("{origin}: {source}")]
    Arrow {
        /// The file or the step that failed.
        origin: String,
        /// The Arrow library's answer.
        source: arrow::error::ArrowError,
    },
    /// A column that is to hold images, embeddings or labels cannot be told or used.
    #[error("{origin}: {message}")]
    Column {
        /// What the column is for.
        role: ColumnRole,
        /// The file, where it is known, and the column's role.
        origin: String,
        /// What is wrong, with the columns that there are.
        message: String,
    },
    /// The input has a column of the name of one that would be appended.
    #[error("the input already has a column \"{name}\"")]
    ColumnTaken {
        /// The name.
        name: String,
    },
    /// The images lie in files that rows name, which the caller did not allow to be opened.
    #[error("column \"{column}\" holds paths instead of images")]
    PathsNotAllowed {
        /// The column.
        column: String,
    },
    /// A row failed, and the caller asked to stop at the first that does.
    #[error("{origin}: {error}")]
    Row {
        /// File and row.
        origin: String,
        /// Why it failed.
        error: RowError,
    },
    /// Something exists where an output should go.
    #[error("{} exists", path.display())]
    OutputExists {
        /// The file or folder.
        path: PathBuf,
    },
    /// Something else than what would be replaced exists where an output should go. It is never replaced.
    #[error("{} exists and is not {expected}; choose another place", path.display())]
    OutputForeign {
        /// The file or folder.
        path: PathBuf,
        /// What may be replaced, with its article.
        expected: &'static str,
    },
    /// A folder of parts comes from another model, or was made with other settings.
    #[error("{}: the parts in it differ: {differences}", path.display())]
    PartsDiffer {
        /// The folder.
        path: PathBuf,
        /// What is different, in words.
        differences: String,
    },
    /// Two outputs have one name.
    #[error("{path} is named both for {} and for {}", rows[0], rows[1])]
    SameOutput {
        /// The name.
        path: String,
        /// Which rows each of the outputs is for.
        rows: [&'static str; 2],
    },
    /// An output would replace a file that is read.
    #[error("{path} is read; its rows would be lost")]
    OutputIsInput {
        /// The name.
        path: String,
    },
    /// A model is given where a dataset should be.
    #[error("{}: is a model, not a dataset", path.display())]
    ModelAsDataset {
        /// The folder.
        path: PathBuf,
    },
    /// A Delta table whose rows cannot be told from its files, or whose log cannot be read.
    #[error("{}: is a Delta table; {message}", path.display())]
    DeltaTable {
        /// The folder or its address.
        path: PathBuf,
        /// Why it cannot be read.
        message: String,
    },
    /// The model has no temperature and no thresholds yet.
    #[error("model {}: not calibrated", path.display())]
    NotCalibrated {
        /// The bundle's folder.
        path: PathBuf,
    },
    /// Nothing is known of the features of the model's training images, of which something is to be made.
    #[error("model {}: keeps nothing of its training images' features, which {what} needs", path.display())]
    NoTrainingFeatures {
        /// The bundle's folder.
        path: PathBuf,
        /// What is to be made of them, in words, as the subject of a sentence.
        what: String,
    },
    /// The score needs examples of unknown images, and the model keeps none.
    #[error("the score {score} needs examples of unknown images, and the model keeps none")]
    NoUnknownExamples {
        /// Name of the score.
        score: &'static str,
    },
    /// A device that is not there.
    #[error("device `{device}` is not there: {reason}")]
    Device {
        /// The device as the user wrote it.
        device: String,
        /// Which library, driver or GPU is missing.
        reason: String,
    },
    /// A device that failed while it was used: it is lost, or has too little memory for a single image.
    #[error("device `{device}` failed: {reason}")]
    DeviceFailed {
        /// The device.
        device: String,
        /// What its libraries say.
        reason: String,
    },
    /// Options that do not fit each other, the data or the machine.
    #[error("{0}")]
    Config(String),
    /// A model bundle is missing, damaged, of a newer format or does not reproduce its expected outputs.
    #[error("model {}: {message}", path.display())]
    Model {
        /// The bundle's folder, or the file in it.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tensor(#[from] tch::TchError),
    /// More rows failed than the caller allows.
    #[error("{failed} of {rows} rows failed, more than {allowed} allowed; most frequent: {example}")]
    TooManyRowErrors {
        /// Rows that failed so far.
        failed: u64,
        /// Rows seen so far.
        rows: u64,
        /// The limit, as the caller wrote it.
        allowed: String,
        /// One of the failures.
        example: String,
    },
    /// The caller asked to stop.
    #[error("stopped on request")]
    Cancelled,
    /// A failure of a crate that builds on this one, such as the trainer's. Downcast it to that crate's error.
    #[error(transparent)]
    Extension(Box<dyn std::error::Error + Send + Sync>),
    /// A fault of this crate, for example a worker thread that ended unexpectedly.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnRole {
    /// It holds the images.
    Image,
    /// It holds the embeddings.
    Embedding,
    /// It holds the labels.
    Label,
}

impl Error {
    /// An [`Error::Column`] about a column of a dataset that is not named yet.
    pub(crate) fn column(role: ColumnRole, message: impl Into<String>) -> Self {
        let origin = match role {
            ColumnRole::Image => "image column",
            ColumnRole::Embedding => "embedding column",
            ColumnRole::Label => "label column",
        };
        Self::Column { role, origin: origin.into(), message: message.into() }
    }

    /// An [`Error::Io`] about `path`.
    pub fn io(path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// An [`Error::Data`] about `origin`.
    pub fn data(origin: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::Data { origin: origin.to_string(), message: message.into() }
    }

    /// An [`Error::Model`] about `path`.
    pub fn model(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Model { path: path.as_ref().to_path_buf(), message: message.into() }
    }
}

/// Stable code of a row's failure: the first word of the column `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RowErrorCode {
    /// The image is null.
    NullImage,
    /// The image has zero bytes.
    EmptyImage,
    /// The bytes are no image format that this build reads.
    UnknownFormat,
    /// The bytes begin like an image but cannot be decoded.
    DecodeFailed,
    /// The image's header promises more pixels than the limit allows; nothing was allocated.
    TooManyPixels,
    /// Raw pixels whose shape is not height x width x channels with 1, 3 or 4 channels.
    WrongShape,
    /// The file that a path column names cannot be read.
    FileNotReadable,
    /// The embedding is null.
    NullEmbedding,
    /// The embedding has another number of numbers than the model's.
    WrongLength,
    /// The embedding has a number that is null, infinite or NaN.
    NonFiniteEmbedding,
    /// All numbers of the embedding are 0, so that it has no direction.
    ZeroEmbedding,
    /// The model gave a value that is not finite.
    NonFiniteScore,
}

impl RowErrorCode {
    /// The code as it stands in the column `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NullImage => "null_image",
            Self::EmptyImage => "empty_image",
            Self::UnknownFormat => "unknown_format",
            Self::DecodeFailed => "decode_failed",
            Self::TooManyPixels => "too_many_pixels",
            Self::WrongShape => "wrong_shape",
            Self::FileNotReadable => "file_not_readable",
            Self::NullEmbedding => "null_embedding",
            Self::WrongLength => "wrong_length",
            Self::NonFiniteEmbedding => "non_finite_embedding",
            Self::ZeroEmbedding => "zero_embedding",
            Self::NonFiniteScore => "non_finite_score",
        }
    }
}

/// Why one row could not be scored. Displays as `code` or `code: detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Stable code, for counting.
    pub code: RowErrorCode,
    /// Cause in words; may be empty.
    pub detail: String,
}

impl RowError {
    /// A failure with its cause in words, which become one line: decoders' messages may have several.
    pub fn new(code: RowErrorCode, detail: impl AsRef<str>) -> Self {
        Self { code, detail: detail.as_ref().split_whitespace().collect::<Vec<_>>().join(" ") }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for RowError {}
