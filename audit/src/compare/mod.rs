//! What changed between two audits.

mod changes;
mod comparison;
mod view;

use std::path::Path;

use self::changes::{Change, Changes};
pub use self::comparison::{Comparison, FigureChange, KindChange};
use super::format;
use super::kind::Kind;
use super::summary::{self, AuditSummary};
use super::table::FINDINGS;
use super::{place, report};
use dismax::cancel::Cancel;
use dismax::error::Result;

/// Version of the layout.
const VERSION: u32 = 2;

/// Compares two audits into the folder `out`, which appears whole or not at all: `findings.parquet` holds what appeared
/// and what is gone, `summary.json` the [`Comparison`], `report.html` both for people. `command` stands in the report.
///
/// # Errors
/// A folder that is no audit, a table that cannot be read, an output that is in the way,
/// [`Error::Cancelled`](dismax::Error::Cancelled).
pub fn compare(old: &Path, new: &Path, out: &Path, force: bool, command: &str, cancel: &Cancel) -> Result<Comparison> {
    let (before, after) = (AuditSummary::read(old)?, AuditSummary::read(new)?);
    let staging = place::create(out, force)?;
    let changes = Changes::between(old, new, &staging.path(FINDINGS), cancel)?;
    let kinds = Kind::ALL.map(|kind| KindChange {
        kind,
        old: before.kinds.get(&kind).copied(),
        new: after.kinds.get(&kind).copied(),
        appeared: changes.of(Change::New, kind),
        gone: changes.of(Change::Gone, kind),
    });
    let comparison = Comparison {
        format: format::COMPARISON.into(),
        format_version: VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        old: old.display().to_string(),
        new: new.display().to_string(),
        old_rows: before.rows,
        new_rows: after.rows,
        kinds: kinds.to_vec(),
        figures: figures(&before, &after),
        warnings: warnings(&before, &after),
    };
    let view = view::view(&comparison, &after, &changes, command);
    staging.write(report::FILE, report::render(&view)?.as_bytes())?;
    staging.write(format::FILE, &summary::to_json(&comparison)?)?;
    cancel.check()?;
    staging.publish()?;
    Ok(comparison)
}

/// What a reader should know before comparing.
fn warnings(before: &AuditSummary, after: &AuditSummary) -> Vec<String> {
    let mut warnings = Vec::new();
    let digest = |summary: &AuditSummary| summary.model.as_ref().map(|model| model.digest.clone());
    match (digest(before), digest(after)) {
        (Some(before), Some(after)) if before != after => warnings.push(
            "The audits were made with different models, so findings may differ where the data do not.".to_owned(),
        ),
        _ => (),
    }
    for (which, one, other) in [("older", before, after), ("newer", after, before)] {
        let alone = Kind::ALL.into_iter().filter(|kind| one.looked_for(*kind) && !other.looked_for(*kind));
        let alone: Vec<&str> = alone.map(Kind::name).collect();
        if !alone.is_empty() {
            let became = if which == "older" { "gone" } else { "new" };
            warnings.push(format!(
                "Only the {which} audit looked for {}: what it found of these is {became} for that reason.",
                alone.join(", ")
            ));
        }
    }
    if before.fdr != after.fdr {
        warnings.push(format!(
            "The audits were made at different false discovery rates: {} and {}.",
            before.fdr, after.fdr
        ));
    }
    warnings
}

/// Figures that both audits have, with whether their intervals lie apart.
fn figures(old: &AuditSummary, new: &AuditSummary) -> Vec<FigureChange> {
    use dismax::calibration::Estimate;
    let mut figures = Vec::new();
    let mut estimates = |name: &str, old: Option<Estimate>, new: Option<Estimate>| {
        if let (Some(old), Some(new)) = (old, new) {
            let clear = old.interval.upper < new.interval.lower || new.interval.upper < old.interval.lower;
            figures.push(FigureChange { name: name.into(), old: old.value, new: new.value, clear });
        }
    };
    let unknown = |summary: &AuditSummary| summary.unknown.as_ref().and_then(|unknown| unknown.out_of_distribution);
    estimates("share of unknown images", unknown(old), unknown(new));
    let accuracy = |summary: &AuditSummary| summary.labels.as_ref().map(|labels| labels.accuracy);
    estimates("agreement with the labels", accuracy(old), accuracy(new));
    let ece = |summary: &AuditSummary| summary.calibration.as_ref().map(|figures| figures.ece);
    estimates("ECE", ece(old), ece(new));
    let wrong = |summary: &AuditSummary| {
        summary.labels.as_ref().map(|labels| labels.estimated_wrong / labels.rows.max(1) as f64)
    };
    if let (Some(old), Some(new)) = (wrong(old), wrong(new)) {
        figures.push(FigureChange { name: "estimated share of wrong labels".into(), old, new, clear: false });
    }
    figures
}
