//! How well a score separates in-distribution rows from others.
//!
//! **Positive is in-distribution and a higher score is more in-distribution** (OpenOOD takes OOD as positive, which changes
//! FPR95 and swaps the AUPRs). Ties count one half: a score that is the same for all rows has AUROC 0.5, not 0. Every figure
//! depends on the order of the scores only, so any increasing map of them leaves it unchanged.

use serde::{Deserialize, Serialize};

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
    /// Share of OOD rows accepted at the highest threshold that accepts at least 95 % of in-distribution rows. Lower is better.
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
        let steps = Step::descending(in_dist, ood);
        let (positives, negatives) = (in_dist.len() as u64, ood.len() as u64);
        let (p, n) = (positives as f64, negatives as f64);

        let mut tp = 0;
        let mut fp = 0;
        let (mut auroc, mut aupr_in, mut detection_accuracy) = (0.0, 0.0, 0.5f64);
        let (mut fpr95, mut tpr_at_fpr05) = (None, 0.0);
        for step in &steps {
            // Trapezoid: the in-distribution rows above this step win, those in it tie.
            auroc += step.ood as f64 * (tp as f64 + 0.5 * step.in_dist as f64);
            tp += step.in_dist;
            fp += step.ood;
            aupr_in += step.in_dist as f64 * (tp as f64 / (tp + fp) as f64);
            detection_accuracy = detection_accuracy.max(0.5 * (tp as f64 / p + 1.0 - fp as f64 / n));
            // Whole numbers, so that exactly 95 % counts.
            if fpr95.is_none() && tp * 100 >= positives * 95 {
                fpr95 = Some(fp as f64 / n);
            }
            if fp * 100 <= negatives * 5 {
                tpr_at_fpr05 = tp as f64 / p;
            }
        }
        // The last step accepts every row, so the threshold of 95 % was met.
        let fpr95 = fpr95.unwrap_or(1.0);

        let (mut refused, mut refused_ood, mut aupr_out) = (0, 0, 0.0);
        for step in steps.iter().rev() {
            refused += step.in_dist + step.ood;
            refused_ood += step.ood;
            aupr_out += step.ood as f64 * (refused_ood as f64 / refused as f64);
        }
        Ok(Self {
            in_dist_rows: positives,
            ood_rows: negatives,
            auroc: auroc / (p * n),
            aupr_in: aupr_in / p,
            aupr_out: aupr_out / n,
            fpr95,
            tnr95: 1.0 - fpr95,
            tpr_at_fpr05,
            detection_accuracy,
        })
    }
}

/// Rows of both kinds that share one score: one step of the ROC curve.
struct Step {
    in_dist: u64,
    ood: u64,
}

impl Step {
    fn descending(in_dist: &[f32], ood: &[f32]) -> Vec<Self> {
        // Adding 0.0 makes -0.0 and 0.0 one score, as comparison has it.
        let tagged =
            |scores: &[f32], is_in_dist| scores.iter().map(move |&s| (s + 0.0, is_in_dist)).collect::<Vec<_>>();
        let mut rows = tagged(in_dist, true);
        rows.extend(tagged(ood, false));
        rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let groups = rows.chunk_by(|a, b| a.0 == b.0);
        groups
            .map(|group| {
                let in_dist = group.iter().filter(|row| row.1).count() as u64;
                Self { in_dist, ood: group.len() as u64 - in_dist }
            })
            .collect()
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
