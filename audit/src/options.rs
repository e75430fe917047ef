//! What is audited, and how.

use std::path::PathBuf;

use super::gate::Rule;
use super::known_unknown::Marks;
use super::review::ReviewOptions;
use dismax::Dataset;

/// What is audited, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditOptions {
    /// Label column; the one with a usual name where none is given, and no labels where there is no such column either.
    pub label: Option<String>,
    /// Columns whose values divide the rows into groups.
    pub group_by: Vec<String>,
    /// Column of times, which divide the rows by day.
    pub time: Option<String>,
    /// False discovery rate in (0, 1) of unknown images, of calibration gaps, of drift and of slices, each on its own.
    pub fdr: f64,
    /// Most thumbnails of each kind in the report.
    pub top: usize,
    /// Whether an audit that is there already is replaced.
    pub force: bool,
    /// What stands in the report as the command.
    pub command: String,
    /// What findings are compared with.
    pub review: ReviewOptions,
    /// Rules under which the findings will be counted ([`gate`](crate::gate())): one for findings that these inputs do
    /// not let an audit look for is refused before the work.
    pub rules: Vec<Rule>,
    /// A Parquet or Arrow file, or an object, for the measures of every row.
    pub rows: Option<String>,
    /// A folder whose `history.jsonl` gets a line about the audit, and from which the report draws those before it.
    pub history: Option<PathBuf>,
}

impl Default for AuditOptions {
    /// Labels where there are some, no groups, a false discovery rate of 0.05, 24 thumbnails, nothing replaced, nothing
    /// to compare with, no rules, no file besides the folder.
    fn default() -> Self {
        Self {
            label: None,
            group_by: Vec::new(),
            time: None,
            fdr: 0.05,
            top: 24,
            force: false,
            command: String::new(),
            review: ReviewOptions::default(),
            rules: Vec::new(),
            rows: None,
            history: None,
        }
    }
}

/// What is audited.
#[derive(Debug, Clone, Copy)]
pub struct AuditInputs<'a> {
    /// The audited dataset.
    pub dataset: &'a Dataset,
    /// What it is compared with: for drift, and for images that are in both.
    pub reference: Option<&'a Dataset>,
    /// Examples of unknown images, to find more of their kinds.
    pub unknown: Option<&'a Dataset>,
    /// What a reader said of audited images: unknown ones are examples, and all of them are left out of the test.
    pub marks: Option<&'a Marks>,
}

impl<'a> AuditInputs<'a> {
    /// A dataset alone.
    pub fn new(dataset: &'a Dataset) -> Self {
        Self { dataset, reference: None, unknown: None, marks: None }
    }
}
