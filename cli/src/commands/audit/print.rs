//! What is printed about audits and comparisons.

use std::collections::BTreeMap;
use std::path::Path;

use dismax_audit::{AuditSummary, Comparison, Kind, Severity};

use crate::args::listing;
use crate::report::estimate;
use crate::text;

pub fn describe(summary: &AuditSummary, out: &Path) -> String {
    let high = summary.severities.get(&Severity::High).copied().unwrap_or(0);
    let mut lines = vec![
        ("audited", format!("{} in {}", text::rows(summary.rows), text::duration(summary.seconds))),
        (
            "findings",
            format!(
                "{} in {}, {} of them serious",
                text::count(summary.findings),
                text::rows(summary.rows_with_findings),
                text::count(high)
            ),
        ),
    ];
    let found = Kind::ALL.into_iter().map(|kind| (kind, summary.of(kind))).filter(|(_, count)| *count > 0);
    let found: Vec<String> = found.map(|(kind, count)| format!("{} {kind}", text::count(count))).collect();
    if !found.is_empty() {
        lines.push(("kinds", listing(&found, Kind::ALL.len())));
    }
    if let Some(share) = summary.unknown.as_ref().and_then(|unknown| unknown.out_of_distribution.as_ref()) {
        lines.push(("unknown", format!("{} of the rows by estimate", estimate(share, text::percent))));
    }
    if let (Some(labels), Some(calibration)) = (&summary.labels, &summary.calibration) {
        let wrong = labels.estimated_wrong / labels.rows.max(1) as f64;
        lines.push(("labels", format!("{} wrong by estimate", text::percent(wrong))));
        lines.push(("ECE", estimate(&calibration.ece, |ece| format!("{ece:.4}"))));
    }
    if let Some(review) = &summary.review {
        if let Some(new) = &review.new {
            lines.push(("new", counts(new)));
        }
        if !review.accepted.is_empty() {
            lines.push(("accepted", counts(&review.accepted)));
        }
    }
    lines.push(("report", out.join("report.html").display().to_string()));
    text::list(&lines)
}

/// `2 blurred, 1 leaked`.
fn counts(by_kind: &BTreeMap<Kind, u64>) -> String {
    match by_kind.is_empty() {
        true => "none".to_owned(),
        false => {
            let counts = by_kind.iter().map(|(kind, count)| format!("{} {kind}", text::count(*count)));
            listing(counts, Kind::ALL.len())
        }
    }
}

pub fn describe_changes(comparison: &Comparison, out: &Path) -> String {
    let changes = |of: fn(&dismax_audit::KindChange) -> u64| {
        let changed = comparison.kinds.iter().filter(|change| of(change) > 0);
        let changed: Vec<String> =
            changed.map(|change| format!("{} {}", text::count(of(change)), change.kind)).collect();
        if changed.is_empty() { "none".to_owned() } else { listing(&changed, Kind::ALL.len()) }
    };
    text::list(&[
        ("rows", format!("{} before, {} after", text::count(comparison.old_rows), text::count(comparison.new_rows))),
        ("new", changes(|change| change.appeared)),
        ("gone", changes(|change| change.gone)),
        ("report", out.join("report.html").display().to_string()),
    ])
}
