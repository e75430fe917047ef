//! Whether confidences are right, in all rows and in groups of them.

use super::divisions::OwnDivision;
use super::rows::predictions;
use crate::collect::{Collected, Prediction, Row};
use crate::confidence::{self, CalibrationFigures, ConfidenceGap, GapSums, LabelledConfidence};
use crate::text::percent;
use dismax::calibration::Calibration;
use dismax::error::Result;
use dismax::metrics::share_interval;

/// Labels at least, before it is said that they look trained on.
const MIN_LABELS: u64 = 100;

pub(super) fn calibrate(
    collected: &Collected,
    classes: &[String],
    divisions: &[OwnDivision],
    fdr: f64,
) -> Result<Option<CalibrationFigures>> {
    let judged = |row: u32, record: Row<'_>, prediction: &Prediction| {
        let label = record.label?;
        let (confidence, correct) = (prediction.confidence, prediction.class == label);
        let judged = LabelledConfidence { confidence, correct, label_probability: record.label_probability };
        Some((row, prediction.class, judged))
    };
    let labelled =
        || predictions(collected).filter_map(move |(row, record, prediction)| judged(row, record, prediction));
    let rows: Vec<LabelledConfidence> = labelled().map(|(_, _, judged)| judged).collect();
    let mut groups: Vec<ConfidenceGap> = Vec::new();
    let mut by_class = vec![GapSums::default(); classes.len()];
    // By the predicted class: given the true one, a calibrated model looks too unsure of rare classes.
    for (_, class, judged) in labelled() {
        by_class[class as usize].add(&judged);
    }
    for (sums, class) in by_class.iter().zip(classes).filter(|(sums, _)| sums.rows() > 0) {
        groups.push(sums.gap("class", class)?);
    }
    for division in divisions {
        let mut sums = vec![GapSums::default(); division.values.len()];
        for (row, _, judged) in labelled() {
            sums[division.code(row)].add(&judged);
        }
        for (code, _) in division.largest(sums.iter().map(GapSums::rows)) {
            groups.push(sums[code].gap(&division.by, &division.values[code])?);
        }
    }
    confidence::figures(&rows, groups, fdr)
}

/// Warns where the labels are predicted so well that the rows were probably trained on: better than the held-out rows
/// by more than chance. Unknown images count too: without them any model looks better.
pub(super) fn trained_on(figures: &CalibrationFigures, calibration: &Calibration) -> Result<Option<String>> {
    if figures.rows < MIN_LABELS {
        return Ok(None);
    }
    let held_out = calibration.fit.accuracy;
    let right = (held_out * calibration.rows as f64).round() as u64;
    let expected = share_interval(right.min(calibration.rows), calibration.rows, 0.99)?;
    let found = share_interval(figures.correct, figures.rows, 0.99)?;
    if found.lower <= expected.upper {
        return Ok(None);
    }
    Ok(Some(format!(
        "The model is right on {} of the labelled rows, but on {} of the rows that were held out when it was made. These rows were \
         probably trained on: what it says of their labels and of how well it is calibrated is too good.",
        percent(figures.correct as f64 / figures.rows as f64),
        percent(held_out)
    )))
}
