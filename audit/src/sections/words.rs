//! Figures in words.

use crate::text::{clipped, count, counted, percent};
use crate::view::Cell;
use dismax::calibration::Estimate;
use dismax::text::harmless;

/// A text that holds shown parts already: only cut where it is very long.
pub(super) fn plain(text: &str) -> String {
    harmless(&clipped(text, 1000))
}

pub(super) fn interval(estimate: &Estimate) -> String {
    format!("{} to {}", percent(estimate.interval.lower), percent(estimate.interval.upper))
}

/// A difference of shares in percentage points.
pub(super) fn points(difference: f64) -> String {
    format!("{:+.1}", 100.0 * difference)
}

pub(super) fn number(value: u64) -> Cell {
    Cell::number(count(value), value as f64)
}

/// `1 image is`, `3 images are`.
pub(super) fn are(number: u64, thing: &str) -> String {
    format!("{} {}", counted(number, thing), if number == 1 { "is" } else { "are" })
}

/// `1 row repeats`, `3 rows repeat`.
pub(super) fn repeats(number: u64, thing: &str) -> String {
    format!("{} {}", counted(number, thing), if number == 1 { "repeats" } else { "repeat" })
}

pub(super) fn more(shown: usize, all: u64) -> Option<String> {
    (all > shown as u64)
        .then(|| format!("{} of {} shown; all stand in findings.parquet.", count(shown as u64), count(all)))
}
