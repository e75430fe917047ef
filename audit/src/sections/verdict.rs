//! The page's first lines: three sentences.

use super::words::{are, interval, repeats};
use crate::checks::{DriftFigures, DriftTest, LARGE_PSI, MODERATE_PSI, Quantity};
use crate::kind::{Kind, Severity};
use crate::summary::AuditSummary;
use crate::text::{count, counted, percent};

pub(super) fn verdict(summary: &AuditSummary) -> [String; 3] {
    let rows = summary.rows.max(1) as f64;
    let high = summary.severities.get(&Severity::High).copied().unwrap_or(0);
    let first = match summary.findings {
        0 => format!("Nothing was found in {}.", counted(summary.rows, "row")),
        _ => format!(
            "{} of {} ({}) have a finding; of {}, {} {} serious.",
            count(summary.rows_with_findings),
            counted(summary.rows, "row"),
            percent(summary.rows_with_findings as f64 / rows),
            counted(summary.findings, "finding"),
            count(high),
            if high == 1 { "is" } else { "are" }
        ),
    };
    let broken: u64 = Kind::BROKEN.iter().map(|kind| summary.of(*kind)).sum();
    let copies = summary.of(Kind::ExactDuplicate) + summary.of(Kind::NearDuplicate);
    let leaked = summary.of(Kind::Leaked) + summary.of(Kind::LeakedNear);
    let has_drifted = summary.unknown.as_ref().is_some_and(|unknown| unknown.has_drifted);
    let unknown = match summary.unknown.as_ref().map(|unknown| unknown.out_of_distribution) {
        _ if has_drifted => "Many images differ from those that the model was calibrated on, if not in kind; ".into(),
        Some(Some(share)) => format!(
            "About {} of the images are of kinds that the model does not know ({}); ",
            percent(share.value),
            interval(&share)
        ),
        Some(None) => "Nothing can be said of unknown images; ".into(),
        None => String::new(),
    };
    let leaks = if leaked > 0 { format!(", {} also in the reference", are(leaked, "image")) } else { String::new() };
    let second = format!(
        "{unknown}{} broken or missing, {} an earlier one{leaks}.",
        are(broken, "image"),
        repeats(copies, "row")
    );
    let labels = match (&summary.labels, &summary.calibration) {
        _ if summary.model.is_none() => "Without a model, unknown images and wrong labels are not looked for".into(),
        (Some(labels), Some(calibration)) => format!(
            "About {} of the labels are wrong by estimate, and confidences are off by {}",
            percent(labels.estimated_wrong / labels.rows.max(1) as f64),
            percent(calibration.ece.value)
        ),
        (None, Some(_)) => "Every row with a label is of an unknown kind, so labels could not be checked".into(),
        _ => "There are no labels to check".into(),
    };
    let drift = summary.drift.as_ref().map(drift).unwrap_or_default();
    [first, second, format!("{labels}{drift}.")]
}

/// How far the rows have drifted: by the scores, and without a model or where these have not by what differs most.
fn drift(figures: &DriftFigures) -> String {
    let how_far = |test: &DriftTest| match test.psi {
        psi if psi >= LARGE_PSI => "drifted far",
        psi if psi >= MODERATE_PSI => "drifted",
        _ => "drifted a little",
    };
    let score = figures.of_all_rows().find(|test| test.quantity == Quantity::Score);
    match (score, figures.worst()) {
        (Some(score), _) if score.significant => format!("; the scores have {}", how_far(score)),
        (Some(_), Some(worst)) => {
            format!("; the scores have not drifted, but {} has {}", worst.quantity.name(), how_far(worst))
        }
        (None, Some(worst)) => format!("; the images have {}", how_far(worst)),
        (Some(_), None) => "; the scores have not drifted".to_owned(),
        (None, None) => "; the images have not drifted".to_owned(),
    }
}
