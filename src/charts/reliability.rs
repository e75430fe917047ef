//! The reliability diagram.

use crate::error::Result;
use crate::evaluate::Evaluation;

/// Reliability diagram of an evaluation, before and after the temperature.
///
/// # Errors
/// [`crate::Error::Internal`] if plotters cannot draw.
pub fn reliability(evaluation: &Evaluation) -> Result<String> {
    let _ = evaluation;
    Ok(String::new())
}
