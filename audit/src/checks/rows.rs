//! The rows of a pass that have what a check looks at.

use crate::collect::{Collected, Look, Prediction, Row};

/// Rows with a prediction.
pub(crate) fn predictions(collected: &Collected) -> impl Iterator<Item = (u32, Row<'_>, &Prediction)> + Clone {
    let rows = collected.rows().enumerate();
    rows.filter_map(|(row, record)| Some((row as u32, record, record.prediction?)))
}

/// Rows whose image could be decoded.
pub(crate) fn looks(collected: &Collected) -> impl Iterator<Item = (u32, &Look)> + Clone {
    collected.rows().enumerate().filter_map(|(row, record)| Some((row as u32, record.look?)))
}

/// Rows with a label.
pub(crate) fn labels(collected: &Collected) -> impl Iterator<Item = (u32, Row<'_>, u32)> + Clone {
    let rows = collected.rows().enumerate();
    rows.filter_map(|(row, record)| Some((row as u32, record, record.label?)))
}
