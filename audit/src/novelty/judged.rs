//! What is known of the audited rows.

use super::background::Background;
use super::feature_file::FeatureFile;
use dismax::calibration::Scatter;

/// What the model says of the audited rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'a> {
    /// The predicted class of each row.
    pub classes: &'a [u32],
    /// The model's score of each row; higher is more in-distribution.
    pub scores: &'a [f32],
    /// Its conformal p-value.
    pub p_values: &'a [f64],
    /// Rows that these are counted among.
    pub calibration_rows: u64,
    /// Whether how usual early features are counts in the model's score already.
    pub score_has_early: bool,
}

/// What speaks of rows besides the model's score.
#[derive(Debug)]
pub(crate) struct Features<'a> {
    pub background: Background<'a>,
    /// Those of the audited rows, and of others.
    pub audited: &'a mut FeatureFile,
    /// Which rows of the file the audited ones are; they ascend.
    pub rows: &'a [u32],
    /// Those of images of known unknown kinds from elsewhere; none without.
    pub known: Option<Scatter>,
}
