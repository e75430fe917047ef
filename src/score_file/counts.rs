//! Counting rows while they are scored.

use std::collections::BTreeMap;

use crate::columns::ScoredColumns;
use crate::dataset::Chunk;
use crate::error::{Error, RowErrorCode};

/// What happened to rows so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub rows: u64,
    pub failed: u64,
    pub flagged: u64,
    pub errors: BTreeMap<RowErrorCode, u64>,
    /// The first failure with each code, with its place.
    examples: BTreeMap<RowErrorCode, String>,
}

impl Counts {
    /// Adds rows of a chunk.
    pub fn add(&mut self, chunk: &Chunk, columns: &ScoredColumns) {
        self.rows += columns.p_values.len() as u64;
        self.flagged += columns.flagged;
        self.failed += columns.failed.len() as u64;
        for (row, error) in &columns.failed {
            *self.errors.entry(error.code).or_default() += 1;
            self.examples
                .entry(error.code)
                .or_insert_with(|| format!("{error} ({}, row {})", chunk.file, chunk.first_row + *row as u64));
        }
    }

    /// The error about this many failures, with an example of the most frequent.
    pub fn too_many(&self, allowed: String) -> Error {
        let most = self.errors.iter().max_by_key(|(_, count)| **count);
        let example = most.and_then(|(code, _)| self.examples.get(code)).cloned().unwrap_or_default();
        Error::TooManyRowErrors { failed: self.failed, rows: self.rows, allowed, example }
    }
}
