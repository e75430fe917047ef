//! Counting rows while they are scored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::limit::ErrorLimit;
use crate::columns::ScoredColumns;
use crate::dataset::Chunk;
use crate::error::{Error, Result, RowErrorCode};

/// What happened to rows so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub rows: u64,
    pub failed: u64,
    pub flagged: u64,
    pub errors: BTreeMap<RowErrorCode, u64>,
    /// Failed rows and rows that earlier runs wrote: limits are for all of them.
    earlier: (u64, u64),
    /// The first failure with each code, with its place.
    examples: BTreeMap<RowErrorCode, String>,
}

impl Counts {
    /// For a run that goes on with what earlier runs wrote: so many failed rows of so many.
    pub fn after(earlier: (u64, u64)) -> Self {
        Self { earlier, ..Self::default() }
    }

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

    /// Adds what was counted of other rows.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.flagged += other.flagged;
        self.failed += other.failed;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        for (code, example) in other.examples {
            self.examples.entry(code).or_insert(example);
        }
    }

    /// Takes rows out again that are in no output.
    pub fn remove(&mut self, part: &Self) {
        self.rows -= part.rows;
        self.flagged -= part.flagged;
        self.failed -= part.failed;
        for (code, count) in &part.errors {
            *self.errors.entry(*code).or_default() -= count;
        }
        self.errors.retain(|_, count| *count > 0);
    }

    /// Checks a limit, at the end of the run or in its middle.
    ///
    /// # Errors
    /// [`Error::TooManyRowErrors`].
    pub fn check(&self, limit: ErrorLimit, at_end: bool) -> Result<()> {
        let (failed, rows) = (self.failed + self.earlier.0, self.rows + self.earlier.1);
        let checked = if at_end { limit.check(failed, rows) } else { limit.check_running(failed, rows) };
        checked.map_err(|allowed| self.too_many(failed, rows, allowed))
    }

    /// The error about this many failures, with an example of the most frequent.
    fn too_many(&self, failed: u64, rows: u64, allowed: String) -> Error {
        let most = self.errors.iter().max_by_key(|(_, count)| **count);
        let example = most.and_then(|(code, _)| self.examples.get(code)).cloned();
        let example = example.unwrap_or_else(|| "those in parts that were written before".into());
        Error::TooManyRowErrors { failed, rows, allowed, example }
    }
}
