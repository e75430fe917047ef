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
    /// Digest of the model's files.
    pub model_digest: String,
}
