//! The rows of a pass that have what an analysis looks at.

use crate::collect::{Collected, Look, Prediction, Row};

pub(crate) fn predictions(collected: &Collected) -> impl Iterator<Item = (u32, Row<'_>, &Prediction)> + Clone {
    let rows = collected.rows().enumerate();
    rows.filter_map(|(row, record)| Some((row as u32, record, record.prediction?)))
}

pub(super) fn looks(collected: &Collected) -> impl Iterator<Item = (u32, &Look)> + Clone {
    collected.rows().enumerate().filter_map(|(row, record)| Some((row as u32, record.look?)))
}
