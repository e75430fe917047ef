//! Figures in words.

use crate::text::{clipped, count, counted, percent};
use crate::view::Cell;
use dismax::calibration::Estimate;
use dismax::text::harmless;

/// A text that holds shown parts already: only cut where it is very long.
pub(crate) fn plain(text: &str) -> String {
    harmless(&clipped(text, 1000))
}

pub(crate) fn interval(estimate: &Estimate) -> String {
    format!("{} to {}", percent(estimate.interval.lower), percent(estimate.interval.upper))
}

/// A difference of shares in percentage points.
pub(crate) fn points(difference: f64) -> String {
    let text = format!("{:+.1}", 100.0 * difference);
    // What rounds to nothing has no sign.
    if matches!(text.as_str(), "+0.0" | "-0.0") { "0.0".to_owned() } else { text }
}

pub(crate) fn number(value: u64) -> Cell {
    Cell::number(count(value), value as f64)
}

/// `1 image is`, `3 images are`.
pub(crate) fn are(number: u64, thing: &str) -> String {
    format!("{} {}", counted(number, thing), if number == 1 { "is" } else { "are" })
}

/// `1 row repeats`, `3 rows repeat`.
pub(crate) fn repeats(number: u64, thing: &str) -> String {
    format!("{} {}", counted(number, thing), if number == 1 { "repeats" } else { "repeat" })
}

/// Says so where not all is shown.
pub(crate) fn rest(shown: usize, all: u64) -> Option<String> {
    (all > shown as u64)
        .then(|| format!("{} of {} shown; all stand in findings.parquet.", count(shown as u64), count(all)))
}
