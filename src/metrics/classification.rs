//! Accuracy, proper scores and calibration errors of labelled logits at one temperature, as one record.

use serde::{Deserialize, Serialize};

use super::calibration::{self, DEFAULT_BINS, Reliability, TACE_THRESHOLD};
use super::{LabelledLogits, proper};
use crate::error::Result;

/// How good the class probabilities `softmax(logits / temperature)` are. Lower is better for all but the accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassificationMetrics {
    /// Rows.
    pub rows: u64,
    /// The temperature of the probabilities; 1 means not calibrated.
    pub temperature: f32,
    /// Share of rows whose predicted class is the label; the same at every temperature.
    pub accuracy: f64,
    /// Mean negative log-likelihood in nats.
    pub nll: f64,
    /// Brier score summed over classes, in [0, 2].
    pub brier: f64,
    /// Expected calibration error of the confidence, 15 equal-width bins: the one to report.
    pub ece: f64,
    /// Largest gap of a bin of the ECE.
    pub mce: f64,
    /// Over-confidence error.
    pub over_confidence: f64,
    /// Class-wise (static) calibration error, 15 equal-width bins.
    pub class_wise_ece: f64,
    /// Adaptive calibration error, 15 bins of equal count per class.
    pub ace: f64,
    /// Adaptive calibration error of the probabilities of at least 0.01.
    pub tace: f64,
}

impl ClassificationMetrics {
    /// Computes all of them.
    ///
    /// # Errors
    /// [`crate::Error::Data`] where `temperature` is not a positive number and so gives no probabilities.
    pub fn of(rows: &LabelledLogits, temperature: f32) -> Result<Self> {
        let bins = Reliability::equal_width(&rows.confidences(temperature), &rows.correct(), DEFAULT_BINS)?;
        Ok(Self {
            rows: bins.rows,
            temperature,
            accuracy: proper::accuracy(rows),
            nll: proper::nll(rows, temperature),
            brier: proper::brier(rows, temperature),
            ece: bins.ece(),
            mce: bins.mce(),
            over_confidence: bins.over_confidence(),
            class_wise_ece: calibration::class_wise_ece(rows, temperature, DEFAULT_BINS)?,
            ace: calibration::ace(rows, temperature, DEFAULT_BINS)?,
            tace: calibration::tace(rows, temperature, DEFAULT_BINS, TACE_THRESHOLD)?,
        })
    }
}
