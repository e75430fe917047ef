//! One finding, and the order of all of them.

use super::kind::{Kind, Severity};

/// Something found about a row: 24 bytes, as there may be one for every row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Finding {
    pub row: u32,
    pub kind: Kind,
    pub severity: Severity,
    /// See [`Kind::score_meaning`].
    pub score: f64,
    pub related: Option<Related>,
}

/// The other row of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Related {
    /// Of the audited dataset.
    Audited(u32),
    /// Of the reference.
    Reference(u32),
}

/// Puts findings into the order of the table: by kind, most serious and most striking first.
pub(super) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let by_score = match a.kind.smallest_first() {
            true => a.score.total_cmp(&b.score),
            // Sizes are extreme in both directions.
            false if a.kind == Kind::ExtremeSize => b.score.abs().total_cmp(&a.score.abs()),
            false => b.score.total_cmp(&a.score),
        };
        a.kind.cmp(&b.kind).then(a.severity.cmp(&b.severity)).then(by_score).then(a.row.cmp(&b.row))
    });
}
