//! What is removed, and how much that is.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kind::Kind;
use crate::review::Acceptances;
use crate::revisit::RevisitOptions;
use crate::selection::Selection;
use dismax::dataset::WriteOptions;

/// What is removed, and how it is written.
#[derive(Debug, Clone)]
pub struct CleanOptions {
    /// Rows with such a finding are removed.
    pub drop: Vec<Selection>,
    /// Of each set of rows that findings of these kinds connect, [`Kind::ExactDuplicate`] and [`Kind::NearDuplicate`],
    /// the first row stays and the others are removed. A row that is dropped anyway does not stay for the others.
    pub keep_one: Vec<Kind>,
    /// Findings that remove nothing; those that the audit knew as accepted where none is given.
    pub accepted: Option<Acceptances>,
    /// Stands in front of the names of the columns that say why a row was removed.
    pub prefix: String,
    /// Where the audited rows are.
    pub revisit: RevisitOptions,
    /// How both files are written.
    pub write: WriteOptions,
}

impl Default for CleanOptions {
    /// Removes rows whose image is of no use, and nothing else.
    fn default() -> Self {
        Self {
            drop: vec![Selection::BROKEN],
            keep_one: Vec::new(),
            accepted: None,
            prefix: String::new(),
            revisit: RevisitOptions::default(),
            write: WriteOptions::default(),
        }
    }
}

/// How many rows are kept and removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CleanFigures {
    /// Rows of the audit.
    pub rows: u64,
    /// Those that are kept.
    pub kept: u64,
    /// Those that are removed.
    pub removed: u64,
    /// Removed rows by the kind of a finding that removes them. A row with findings of several kinds counts for each.
    pub by_kind: BTreeMap<Kind, u64>,
    /// Sets of duplicates of which one row stays.
    pub sets: u64,
}
