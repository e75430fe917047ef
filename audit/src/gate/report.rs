//! What a gate found.

use std::fmt;

use serde::Serialize;

use super::rule::Rule;
use crate::kind::Kind;
use crate::review::Acceptance;
use crate::text::{count, counted, percent};

/// The findings of an audit under rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateReport {
    /// The audit's folder.
    pub audit: String,
    /// Files that were audited.
    pub inputs: Vec<String>,
    /// Rows that were audited.
    pub rows: u64,
    /// The earlier audit whose findings do not count; none without.
    pub baseline: Option<String>,
    /// Each rule, in the order in which they were given.
    pub rules: Vec<RuleResult>,
    /// Each kind of which there are findings, in the order of the report.
    pub kinds: Vec<KindCount>,
    /// Acceptances whose time is over.
    pub expired: Vec<Acceptance>,
}

/// A rule and what was counted under it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleResult {
    /// The rule.
    pub rule: Rule,
    /// Findings that count.
    pub findings: u64,
    /// Rows with such a finding.
    pub rows: u64,
    /// Their share of all rows, in [0, 1].
    pub share: f64,
    /// Whether that is too many.
    pub broken: bool,
    /// The first of the findings.
    pub examples: Vec<Example>,
}

/// A finding that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Kind of the finding.
    pub kind: Kind,
    /// File of the row.
    pub file: String,
    /// Number of the row in its file.
    pub row: u64,
    /// What the dataset calls the image.
    pub path: Option<String>,
    /// What speaks for it.
    pub evidence: String,
}

/// Findings of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// The kind.
    pub kind: Kind,
    /// All of them.
    pub findings: u64,
    /// Those that somebody accepted.
    pub accepted: u64,
    /// Those that the earlier audit lacks; none without one.
    pub new: Option<u64>,
    /// Those that count: new, where there is an earlier audit, and not accepted.
    pub counted: u64,
}

impl GateReport {
    /// Whether no rule is broken.
    pub fn passed(&self) -> bool {
        self.rules.iter().all(|result| !result.broken)
    }

    /// Findings that count.
    pub fn counted(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.counted).sum()
    }
}

impl RuleResult {
    /// What was counted: `12 findings in 12 rows (20.0 %)`.
    pub fn found(&self) -> String {
        format!("{} in {} ({})", counted(self.findings, "finding"), counted(self.rows, "row"), percent(self.share))
    }
}

impl fmt::Display for RuleResult {
    /// `broken: leaked>0: 12 findings in 12 rows (20.0 %)`, or `passed: ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", if self.broken { "broken" } else { "passed" }, self.rule, self.found())
    }
}

impl Example {
    /// `blurred, cat/7.jpg (row 7 of photos): Sharpness ...`; without the name where the image has none.
    pub fn line(&self) -> String {
        let place = format!("row {} of {}", count(self.row), self.file);
        let place = match &self.path {
            Some(path) => format!("{path} ({place})"),
            None => place,
        };
        format!("{}, {place}: {}", self.kind, self.evidence)
    }
}
