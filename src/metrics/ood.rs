//! How well a score separates in-distribution rows from others.
//!
//! **Positive is in-distribution and a higher score is more in-distribution** (OpenOOD takes OOD as positive, which
//! changes FPR95 and swaps the AUPRs). Ties count one half: a score that is the same for all rows has AUROC 0.5, not 0.
//! Every figure depends on the order of the scores only, so any increasing map of them leaves it unchanged.

use serde::{Deserialize, Serialize};

use super::roc::Roc;
use crate::error::{Error, Result};

/// Detection figures of one score on one pair of datasets; all are shares in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OodMetrics {
    /// Rows of the in-distribution set.
    pub in_dist_rows: u64,
    /// Rows of the other set.
    pub ood_rows: u64,
    /// Area under the ROC curve: the chance that an in-distribution row scores higher than an OOD row, ties one half.
    pub auroc: f64,
    /// Average precision with in-distribution as positive (step-wise, as scikit-learn computes it).
    pub aupr_in: f64,
    /// Average precision with OOD as positive and the negated score.
    pub aupr_out: f64,
    /// Share of OOD rows accepted at the highest threshold that accepts at least 95 % of in-distribution rows. Lower is
    /// better.
    pub fpr95: f64,
    /// `1 - fpr95`: share of OOD rows refused there. Higher is better.
    pub tnr95: f64,
    /// Share of in-distribution rows accepted at the lowest threshold that accepts at most 5 % of OOD rows.
    pub tpr_at_fpr05: f64,
    /// Largest `(TPR + TNR) / 2` over all thresholds.
    pub detection_accuracy: f64,
}

impl OodMetrics {
    /// Computes all figures from in-distribution scores (higher = more in-distribution) of both sets, in one sort.
    ///
    /// # Errors
    /// [`Error::Data`] where a set is empty or a score is not finite; the message names the set and the row.
    pub fn of_scores(in_dist: &[f32], ood: &[f32]) -> Result<Self> {
        check("in-distribution scores", in_dist)?;
        check("OOD scores", ood)?;
        let roc = Roc::of_scores(in_dist, ood)?;
        let (positives, negatives) = (in_dist.len() as u64, ood.len() as u64);
        let (p, n) = (positives as f64, negatives as f64);

        let (mut tp, mut fp) = (0, 0);
        let (mut detection_accuracy, mut tpr_at_fpr05) = (0.5f64, 0.0);
        for step in roc.steps() {
            tp += step.positives;
            fp += step.negatives;
            detection_accuracy = detection_accuracy.max(0.5 * (tp as f64 / p + 1.0 - fp as f64 / n));
            // Whole numbers, so that exactly 5 % counts.
            if fp * 100 <= negatives * 5 {
                tpr_at_fpr05 = tp as f64 / p;
            }
        }
        let (mut refused, mut refused_ood, mut aupr_out) = (0, 0, 0.0);
        for step in roc.steps().iter().rev() {
            refused += step.positives + step.negatives;
            refused_ood += step.negatives;
            aupr_out += step.negatives as f64 * (refused_ood as f64 / refused as f64);
        }
        let fpr95 = roc.fpr_at_tpr(0.95);
        Ok(Self {
            in_dist_rows: positives,
            ood_rows: negatives,
            auroc: roc.auroc(),
            aupr_in: roc.average_precision(),
            aupr_out: aupr_out / n,
            fpr95,
            tnr95: 1.0 - fpr95,
            tpr_at_fpr05,
            detection_accuracy,
        })
    }
}

fn check(what: &str, scores: &[f32]) -> Result<()> {
    if scores.is_empty() {
        return Err(Error::data(what, "there are none; at least one row is needed"));
    }
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(()),
        Some(row) => {
            Err(Error::data(what, format!("row {row} is not finite: leave rows that failed out and count them")))
        }
    }
}

#[cfg(test)]
#[path = "ood_tests.rs"]
mod tests;
