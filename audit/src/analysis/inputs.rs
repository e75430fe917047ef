//! What an analysis is made from.

use std::collections::HashMap;
use std::sync::Arc;

use crate::collect::Collected;
use crate::options::AuditOptions;
use dismax::calibration::Calibration;

/// What is analysed: what was collected of both datasets, and what it is judged by.
pub(crate) struct AnalysisInputs<'a> {
    pub collected: &'a Collected,
    pub reference: Option<&'a Collected>,
    /// Rows of each row group, by file.
    pub row_groups: &'a HashMap<Arc<str>, Vec<u64>>,
    /// The model's classes, or the names of the labels where there is no model.
    pub classes: &'a [String],
    /// The model's; none without a model.
    pub calibration: Option<&'a Calibration>,
    pub options: &'a AuditOptions,
}
