//! What a scoring run did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::score::Score;

/// Figures of a finished run. As JSON it has these fields under these names; they stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreSummary {
    /// Rows read and written.
    pub rows: u64,
    /// Rows with scores.
    pub scored: u64,
    /// Rows with a reason in `error` instead.
    pub failed: u64,
    /// The failed rows by code.
    pub errors: BTreeMap<String, u64>,
    /// Rows whose `is_ood` is true.
    pub flagged: u64,
    /// Their share of the scored rows, in [0, 1]; none without scored rows.
    pub flagged_share: Option<f64>,
    /// Share of in-distribution rows that the thresholds may flag.
    pub alpha: f64,
    /// The in-distribution score whose negative is `ood_score`.
    pub score: Score,
    /// From the first row read to the output finished.
    pub seconds: f64,
    /// Rows for each of these seconds.
    pub images_per_second: f64,
    /// Share of this time in which the GPUs had work; none on a CPU.
    pub device_busy_share: Option<f64>,
    /// Where all rows went.
    pub output: String,
    /// Where the failed rows went as well.
    pub errors_output: Option<String>,
    /// What happened to the parts of a folder; none for other outputs. The counts above are then of the rows that this
    /// run scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<PartsSummary>,
    /// Damaged files of which rows are left out, with the reason of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bad_files: BTreeMap<String, String>,
    /// Digest of the model's files.
    pub model_digest: String,
}

/// What a run did with the parts of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartsSummary {
    /// Written by this run.
    pub written: usize,
    /// Whole already: their inputs are what they were.
    pub kept: usize,
    /// Removed, because their inputs are cut otherwise now.
    pub removed: usize,
    /// Rows of all parts.
    pub rows: u64,
}
