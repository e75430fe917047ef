//! Readers of the formats panic at some kinds of damage, which for us is an error like any other.

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::panic::caught;

/// What a reader's own errors are made of when it panicked.
pub(super) trait GaveUp {
    fn gave_up(words: String) -> Self;
}

impl GaveUp for ArrowError {
    fn gave_up(words: String) -> Self {
        Self::IpcError(words)
    }
}

impl GaveUp for ParquetError {
    fn gave_up(words: String) -> Self {
        Self::General(words)
    }
}

/// What `read` gives, also where it panics. The reader must not be used afterwards.
pub(super) fn guarded<T, E: GaveUp>(read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    caught(read).unwrap_or_else(|words| Err(E::gave_up(words)))
}
