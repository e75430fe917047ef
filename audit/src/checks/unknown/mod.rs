//! Images that are unlike those the model was calibrated on.

mod figures;
mod section;

pub use self::figures::UnknownFigures;
pub(crate) use self::figures::figures;
use crate::analysis::predictions;
use crate::collect::Collected;
use crate::findings::Finding;
use crate::kind::{Kind, Severity};

/// Rows whose p-value is at most `most`.
pub(crate) fn findings(collected: &Collected, most: f64) -> Vec<Finding> {
    let severity = |p: f64| match p {
        p if p <= most / 4.0 => Severity::High,
        p if p <= most / 2.0 => Severity::Medium,
        _ => Severity::Low,
    };
    predictions(collected)
        .filter(|(_, _, prediction)| prediction.p_value <= most)
        .map(|(row, _, prediction)| Finding {
            row,
            kind: Kind::Unknown,
            severity: severity(prediction.p_value),
            score: -f64::from(prediction.score),
            related: None,
        })
        .collect()
}
