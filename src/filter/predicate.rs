//! Conditions on rows beyond what the model says of them.

use std::fmt;

use arrow::array::{BooleanArray, RecordBatch};

use crate::Result;

/// A condition that kept rows fulfil as well. The crate `dismax-udfs` has one in SQL.
pub trait RowPredicate: fmt::Debug + Send + Sync {
    /// Whether it needs the scored columns. One that does not is evaluated first, and rows for which it is not true are
    /// not scored.
    fn needs_scores(&self) -> bool;

    /// Whether it is true, for each row, without nulls. `rows` have the input's columns and, where it needs them, the
    /// scored ones behind.
    ///
    /// # Errors
    /// Whatever keeps it from being evaluated.
    fn is_true(&self, rows: &RecordBatch) -> Result<BooleanArray>;

    /// Whether it may be true for a row of a file whose folders hold these columns, as one row of text: a file for
    /// which it cannot is not read.
    ///
    /// # Errors
    /// Whatever keeps it from being evaluated.
    fn may_be_true(&self, _folders: &RecordBatch) -> Result<bool> {
        Ok(true)
    }
}
