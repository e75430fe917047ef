//! Logits with their labels, checked once so that the arithmetic on them cannot fail.

use crate::error::{Error, Result};
use crate::score;

/// Logits `[N, C]` row-major at temperature 1 and labels `[N]`: not empty, all logits finite, each label in `0..C`.
#[derive(Debug, Clone, Copy)]
pub struct LabelledLogits<'a> {
    logits: &'a [f32],
    labels: &'a [i64],
    classes: usize,
}

impl<'a> LabelledLogits<'a> {
    /// Checks and wraps. `logits` holds `labels.len() * classes` values.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no row or no class, where the lengths do not fit, for a logit that is not finite
    /// and for a label outside the classes; the message names the row.
    pub fn try_new(logits: &'a [f32], classes: usize, labels: &'a [i64]) -> Result<Self> {
        let fail = |message: String| Err(Error::data("labelled logits", message));
        if labels.is_empty() || classes == 0 {
            return fail(format!("{} rows and {classes} classes: at least one of each is needed", labels.len()));
        }
        if labels.len().checked_mul(classes) != Some(logits.len()) {
            let (values, rows) = (logits.len(), labels.len());
            return fail(format!("{values} logits do not make {rows} rows (labels) of {classes} classes"));
        }
        if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
            let row = at / classes;
            return fail(format!("row {row} has a logit that is not finite: leave rows that failed out"));
        }
        if let Some((row, label)) =
            labels.iter().enumerate().find(|&(_, &label)| usize::try_from(label).map_or(true, |label| label >= classes))
        {
            return fail(format!("row {row} has the label {label}, but the classes are 0 to {}", classes - 1));
        }
        Ok(Self { logits, labels, classes })
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Number of classes, at least 1.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The logits, row-major `[N, C]`.
    pub fn logits(&self) -> &'a [f32] {
        self.logits
    }

    /// Each row's logits and label.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [f32], usize)> + use<'a> {
        // The labels were checked to lie in 0..classes, which is a usize.
        self.logits.chunks_exact(self.classes).zip(self.labels.iter().map(|&label| label as usize))
    }

    /// Whether the arg-max class is the label, per row. Does not depend on the temperature.
    pub fn correct(&self) -> Vec<bool> {
        self.iter().map(|(logits, label)| score::class_and_confidence(logits, 1.0).0 == label).collect()
    }

    /// Confidence of the arg-max class at `temperature`, per row: the same value as [`score::row`] gives.
    pub fn confidences(&self, temperature: f32) -> Vec<f32> {
        self.iter().map(|(logits, _)| score::class_and_confidence(logits, temperature).1).collect()
    }

    /// `softmax(logits / temperature)`, row-major `[N, C]`.
    pub fn probabilities(&self, temperature: f32) -> Vec<f32> {
        let mut probabilities = vec![0.0; self.logits.len()];
        for ((logits, _), out) in self.iter().zip(probabilities.chunks_exact_mut(self.classes)) {
            score::row(logits, temperature, score::Score::Mds, out);
        }
        probabilities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_input_is_named() {
        let message = |logits: &[f32], classes, labels: &[i64]| {
            LabelledLogits::try_new(logits, classes, labels).unwrap_err().to_string()
        };
        assert!(message(&[], 2, &[]).contains("0 rows"));
        assert!(message(&[1.0; 3], 2, &[0, 1]).contains("3 logits"));
        assert!(message(&[1.0, 2.0, 3.0, f32::NAN], 2, &[0, 1]).contains("row 1"));
        assert!(message(&[1.0; 4], 2, &[0, 2]).contains("row 1 has the label 2"));
        assert!(message(&[1.0; 4], 2, &[-1, 0]).contains("row 0 has the label -1"));
    }
}
