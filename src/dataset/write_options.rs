//! How a dataset is written.

use serde::{Deserialize, Serialize};

use super::Format;

/// How a dataset is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// The format; `None` takes it from the file name's extension.
    pub format: Option<Format>,
    /// Whether an existing file is replaced.
    pub overwrite: bool,
    /// Most rows of a Parquet row group.
    pub row_group_rows: usize,
    /// Most encoded bytes of a Parquet row group, about; it is held in memory until it is full.
    pub row_group_bytes: usize,
    /// Compression of pages (Parquet) or buffers (Arrow IPC).
    pub compression: Compression,
}

/// Compression of the values. Images are compressed already, but small ones repeat their headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// None.
    None,
    /// LZ4: fast.
    Lz4,
    /// Zstandard at its lowest level: small, still fast.
    Zstd,
}

impl Default for WriteOptions {
    /// Format by extension, nothing overwritten, row groups of 10,000 rows or 64 MiB, Zstandard.
    fn default() -> Self {
        Self {
            format: None,
            overwrite: false,
            row_group_rows: 10_000,
            row_group_bytes: 64 << 20,
            compression: Compression::Zstd,
        }
    }
}
