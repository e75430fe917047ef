//! Readers of the formats panic at some kinds of damage, which for us is an error like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

/// What a reader's own errors are made of when it panicked.
pub(super) trait GaveUp {
    fn gave_up() -> Self;
}

const MESSAGE: &str = "the reader gave up";

impl GaveUp for ArrowError {
    fn gave_up() -> Self {
        Self::IpcError(MESSAGE.into())
    }
}

impl GaveUp for ParquetError {
    fn gave_up() -> Self {
        Self::General(MESSAGE.into())
    }
}

/// What `read` gives, also where it panics. The reader must not be used afterwards.
pub(super) fn guarded<T, E: GaveUp>(read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(E::gave_up()))
}
