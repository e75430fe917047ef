//! The page's first lines: three sentences and the figures beside them.

use super::words::{are, interval, repeats};
use crate::drift::{LARGE_PSI, MODERATE_PSI, Quantity};
use crate::kind::{Kind, Severity};
use crate::summary::AuditSummary;
use crate::text::{count, counted, p_value, percent};
use crate::view::{Tile, Tone};

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
    let unknown = match summary.unknown.as_ref().map(|unknown| unknown.out_of_distribution) {
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
    if summary.model.is_none() {
        let third = "Without a model, unknown images and wrong labels are not looked for.".to_owned();
        return [first, second, third];
    }
    let labels = match (&summary.labels, &summary.calibration) {
        (Some(labels), Some(calibration)) => format!(
            "About {} of the labels are wrong by estimate, and confidences are off by {}",
            percent(labels.estimated_wrong / labels.rows.max(1) as f64),
            percent(calibration.ece.value)
        ),
        (None, Some(_)) => "Every row with a label is of an unknown kind, so labels could not be checked".into(),
        _ => "There are no labels to check".into(),
    };
    let drift = match &summary.drift {
        Some(drift) => match drift.tests.iter().find(|test| test.by.is_none() && test.quantity == Quantity::Score) {
            Some(test) if test.significant && test.psi >= LARGE_PSI => "; the scores have drifted far",
            Some(test) if test.significant && test.psi >= MODERATE_PSI => "; the scores have drifted",
            Some(test) if test.significant => "; the scores have drifted a little",
            _ => "; the scores have not drifted",
        },
        None => "",
    };
    [first, second, format!("{labels}{drift}.")]
}

pub(super) fn tiles(summary: &AuditSummary, odd: u64) -> Vec<Tile> {
    let tile = |name: &str, value: String, note: String, tone: Tone| Tile { name: name.into(), value, note, tone };
    let mut tiles = Vec::new();
    let share = summary.unknown.as_ref().and_then(|unknown| unknown.out_of_distribution);
    if let Some(share) = share {
        let found = summary.of(Kind::Unknown);
        let tone = if found > 0 { Tone::Warn } else { Tone::Good };
        let note = format!("{} found, 95 %: {}", count(found), interval(&share));
        tiles.push(tile("Unknown images", percent(share.value), note, tone));
    }
    if let Some(labels) = &summary.labels {
        let tone = if labels.suspects > 0 { Tone::Warn } else { Tone::Good };
        let share = percent(labels.estimated_wrong / labels.rows.max(1) as f64);
        tiles.push(tile("Wrong labels", share, counted(labels.suspects, "suspect"), tone));
    }
    if let Some(calibration) = &summary.calibration {
        let tone = if calibration.ece.interval.lower > 0.05 { Tone::Warn } else { Tone::Good };
        let note = format!("95 %: {}", interval(&calibration.ece));
        tiles.push(tile("Calibration error", percent(calibration.ece.value), note, tone));
    }
    let broken: u64 = Kind::BROKEN.iter().map(|kind| summary.of(*kind)).sum();
    let tone = if broken > 0 { Tone::Bad } else { Tone::Good };
    tiles.push(tile("Broken files", count(broken), format!("{} odd", are(odd, "other image")), tone));
    let exact = summary.of(Kind::ExactDuplicate);
    let tone = if exact > 0 { Tone::Warn } else { Tone::Good };
    let near = format!("and {} nearly", count(summary.of(Kind::NearDuplicate)));
    tiles.push(tile("Repeated rows", count(exact), near, tone));
    if summary.duplicates.reference_images.is_some() {
        let leaked = summary.of(Kind::Leaked);
        let near = summary.of(Kind::LeakedNear);
        let tone = if leaked + near > 0 { Tone::Bad } else { Tone::Good };
        tiles.push(tile("Leaked images", count(leaked), format!("and {} nearly", count(near)), tone));
    }
    if let Some(test) = summary.drift.iter().flat_map(|drift| &drift.tests).find(|test| test.by.is_none()) {
        let tone = match (test.significant, test.psi) {
            (true, psi) if psi >= LARGE_PSI => Tone::Bad,
            (true, psi) if psi >= MODERATE_PSI => Tone::Warn,
            _ => Tone::Good,
        };
        let note = format!("PSI of the {}, p-value {}", test.quantity.name(), p_value(test.p_value));
        tiles.push(tile("Drift", format!("{:.3}", test.psi), note, tone));
    }
    tiles
}
