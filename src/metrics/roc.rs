//! How a score ranks positive rows above negative ones. Ties count one half.

use crate::error::{Error, Result};

/// Positive and negative rows in the order of their scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Roc {
    /// From the highest score on.
    steps: Vec<Step>,
    positives: u64,
    negatives: u64,
}

/// Rows of both kinds that share one score: one step of the ROC curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) positives: u64,
    pub(crate) negatives: u64,
}

impl Roc {
    /// Takes the scores of both kinds, higher = more positive.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no positive or no negative row, or a score is not a number.
    pub fn of_scores<T: Copy + Into<f64>>(positive: &[T], negative: &[T]) -> Result<Self> {
        let fail = |message: &str| Err(Error::data("ROC curve", message));
        if positive.is_empty() || negative.is_empty() {
            return fail("positive and negative rows are needed, at least one of each");
        }
        // Adding 0.0 makes -0.0 and 0.0 one score, as comparison has it.
        let tagged = |scores: &[T], positive: bool| {
            scores.iter().map(move |&score| (score.into() + 0.0, positive)).collect::<Vec<(f64, bool)>>()
        };
        let mut rows = tagged(positive, true);
        rows.extend(tagged(negative, false));
        if rows.iter().any(|row| row.0.is_nan()) {
            return fail("a score is not a number: leave rows that failed out and count them");
        }
        rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let steps = rows.chunk_by(|a, b| a.0 == b.0).map(|group| {
            let positives = group.iter().filter(|row| row.1).count() as u64;
            Step { positives, negatives: group.len() as u64 - positives }
        });
        let steps = steps.collect();
        Ok(Self { steps, positives: positive.len() as u64, negatives: negative.len() as u64 })
    }

    /// The steps, from the highest score on.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Area under the ROC curve: the chance that a positive row scores higher than a negative one, ties one half.
    pub fn auroc(&self) -> f64 {
        let (mut above, mut area) = (0, 0.0);
        for step in &self.steps {
            // Trapezoid: the positive rows above this step win, those in it tie.
            area += step.negatives as f64 * (above as f64 + 0.5 * step.positives as f64);
            above += step.positives;
        }
        area / (self.positives as f64 * self.negatives as f64)
    }

    /// Average precision, step-wise as scikit-learn computes it.
    pub fn average_precision(&self) -> f64 {
        let (mut above, mut positives, mut sum) = (0, 0, 0.0);
        for step in &self.steps {
            above += step.positives + step.negatives;
            positives += step.positives;
            sum += step.positives as f64 * (positives as f64 / above as f64);
        }
        sum / self.positives as f64
    }

    /// Share of negative rows at or above the highest threshold that accepts at least the share `tpr` of positive rows.
    pub fn fpr_at_tpr(&self, tpr: f64) -> f64 {
        let (mut positives, mut negatives) = (0, 0);
        for step in &self.steps {
            positives += step.positives;
            negatives += step.negatives;
            // A quotient of whole numbers rounds to the float that the decimal fraction is, so that exactly 95 %
            // counts.
            if positives as f64 / self.positives as f64 >= tpr {
                break;
            }
        }
        negatives as f64 / self.negatives as f64
    }
}
