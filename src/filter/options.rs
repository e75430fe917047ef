//! What is kept, what flags a row, and what a run did.

use std::sync::Arc;

use super::predicate::RowPredicate;
use crate::dataset::WriteOptions;

/// Which rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In-distribution rows: scored and not flagged.
    InDist,
    /// Out-of-distribution rows: scored and flagged.
    Ood,
    /// Rows that could not be scored.
    Errors,
}

/// What flags a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Flag {
    /// A p-value of at most alpha; the model's own alpha where none is given.
    Alpha(Option<f64>),
    /// The Benjamini-Hochberg procedure over all scored rows, at this false discovery rate.
    Fdr(f64),
}

/// What is kept and written.
#[derive(Debug, Clone)]
pub struct FilterOptions {
    /// Which rows are kept.
    pub keep: Keep,
    /// What flags a row.
    pub flag: Flag,
    /// A condition that kept rows fulfil as well. Rows for which one on the input's columns alone is not true are not
    /// scored.
    pub predicate: Option<Arc<dyn RowPredicate>>,
    /// A second file for all other rows.
    pub rejected: Option<String>,
    /// Whether both files get the scored columns. Otherwise they have the input's schema.
    pub columns: bool,
    /// Share of rows of each class whose true class may be missing in the scored column `prediction_set`; there is no
    /// such column where none is given.
    pub prediction_set: Option<f64>,
    /// Stands in front of the names of the scored columns.
    pub prefix: String,
    /// How files are written.
    pub write: WriteOptions,
}

impl FilterOptions {
    /// Keeps these rows, flagged by the model's own alpha, and writes nothing else.
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            flag: Flag::Alpha(None),
            predicate: None,
            rejected: None,
            columns: false,
            prediction_set: None,
            prefix: String::new(),
            write: WriteOptions::default(),
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FilterSummary {
    /// Rows read.
    pub rows: u64,
    /// Files that were not read, because the predicate cannot be true for any of their rows.
    pub files_left_out: u64,
    /// Rows kept.
    pub kept: u64,
    /// Rows scored: those that a predicate on the input's columns left and that could be.
    pub scored: u64,
    /// Rows that could not be scored.
    pub failed: u64,
    /// Scored rows that were flagged.
    pub flagged: u64,
    /// The largest p-value that was flagged under [`Flag::Fdr`]; none where no row was.
    pub threshold: Option<f64>,
    /// Wall-clock time.
    pub seconds: f64,
}
