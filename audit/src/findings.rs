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

/// How a finding stands beside what was known before the audit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// Who accepted it and why; none where nobody did.
    pub accepted: Option<String>,
    /// Whether an earlier audit lacks it; none without one.
    pub new: Option<bool>,
}

impl Standing {
    /// Whether it is neither accepted nor known from the earlier audit.
    pub fn counts(&self) -> bool {
        self.accepted.is_none() && self.new != Some(false)
    }
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
