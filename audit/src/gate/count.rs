//! Counting.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::report::{Example, GateReport, KindCount, RuleResult};
use super::rule::Rule;
use crate::kind::Kind;
use crate::review::{ReviewOptions, Reviewer};
use crate::stored::{self, StoredFinding};
use crate::summary::AuditSummary;
use crate::text::shown;
use dismax::cancel::Cancel;
use dismax::error::Result;

/// Most findings that are named for a rule.
const MAX_EXAMPLES: usize = 5;

/// Counts the findings of the audit in `folder` under `rules`. Where `review` says nothing about an earlier audit or
/// about acceptances, those count with which the audit was made.
///
/// # Errors
/// A rule for findings that the audit did not look for, a folder that is no audit of this version, a table that cannot
/// be read, [`Error::Cancelled`](dismax::Error::Cancelled).
pub fn gate(folder: &Path, rules: &[Rule], review: &ReviewOptions, cancel: &Cancel) -> Result<GateReport> {
    let summary = AuditSummary::read(folder)?;
    rules.iter().try_for_each(|rule| rule.selection.require(|kind| summary.looked_for(kind)))?;
    let mut reviewer = Reviewer::open(review, cancel)?;
    let mut tallies: Vec<Tally> = rules.iter().map(|_| Tally::default()).collect();
    let mut kinds = Kind::ALL.map(|kind| KindCount { kind, findings: 0, accepted: 0, new: None, counted: 0 });
    let mut files = HashMap::new();
    stored::visit(folder, cancel, |finding| {
        let standing = reviewer.of_stored(finding);
        let kind = kinds.iter_mut().find(|kind| kind.kind == finding.kind).expect("every kind is there");
        kind.findings += 1;
        kind.accepted += u64::from(standing.accepted.is_some());
        if let Some(new) = standing.new {
            *kind.new.get_or_insert(0) += u64::from(new);
        }
        if standing.counts() {
            kind.counted += 1;
            let next = files.len() as u32;
            let file = *files.entry(finding.file.to_owned()).or_insert(next);
            for (rule, tally) in rules.iter().zip(&mut tallies) {
                if rule.selection.has(finding.kind, finding.severity) {
                    tally.add(file, finding);
                }
            }
        }
        Ok(())
    })?;
    let own = summary.review.unwrap_or_default();
    let baseline = review.baseline.as_ref().map(|folder| folder.display().to_string());
    let expired = review.accepted.as_ref().map(|accepted| accepted.expired().to_vec());
    Ok(GateReport {
        audit: folder.display().to_string(),
        inputs: summary.inputs,
        rows: summary.rows,
        baseline: baseline.or(own.baseline),
        rules: rules.iter().zip(tallies).map(|(rule, tally)| tally.result(*rule, summary.rows)).collect(),
        kinds: kinds.into_iter().filter(|kind| kind.findings > 0).collect(),
        expired: expired.unwrap_or(own.expired),
    })
}

/// What was counted under one rule.
#[derive(Debug, Default)]
struct Tally {
    findings: u64,
    /// Numbers of files and rows.
    rows: HashSet<(u32, u64)>,
    examples: Vec<Example>,
}

impl Tally {
    fn add(&mut self, file: u32, finding: &StoredFinding<'_>) {
        self.findings += 1;
        self.rows.insert((file, finding.row));
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(Example {
                kind: finding.kind,
                file: shown(finding.file),
                row: finding.row,
                path: finding.path.map(shown),
                evidence: finding.evidence.to_owned(),
            });
        }
    }

    fn result(self, rule: Rule, all_rows: u64) -> RuleResult {
        let rows = self.rows.len() as u64;
        RuleResult {
            rule,
            findings: self.findings,
            rows,
            share: rows as f64 / all_rows.max(1) as f64,
            broken: rule.is_broken(self.findings, rows, all_rows),
            examples: self.examples,
        }
    }
}
