//! The record of a training: figures of every epoch and a chart of them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a model was trained, epoch by epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingHistory {
    /// The epochs in order.
    pub epochs: Vec<EpochRecord>,
    /// A chart of them as SVG, drawn by the trainer.
    pub chart_svg: String,
    /// The recipe that it followed, every option of it; none where an earlier release trained.
    pub recipe: Option<serde_json::Value>,
}

/// The epochs, one JSON object a line.
///
/// # Errors
/// [`Error::Internal`] if JSON cannot be made of them.
pub fn json_lines(epochs: &[EpochRecord]) -> Result<String> {
    let fault = |error: serde_json::Error| Error::Internal(format!("epochs as JSON: {error}"));
    epochs.iter().map(|record| Ok(serde_json::to_string(record).map_err(fault)? + "\n")).collect()
}

/// Figures of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean training objective. It contains the entropic scale and, for DisMax†, half the divergence, so it compares
    /// with nothing but itself.
    pub train_objective: f64,
    /// Mean negative log-likelihood in nats of the plain training images, without entropic scale.
    #[serde(with = "finite_or_null")]
    pub train_nll: f64,
    /// Share of the plain training images classified correctly, in `[0, 1]`.
    pub train_accuracy: f64,
    /// Mean negative log-likelihood in nats of the validation rows at temperature 1. Not a number where logits were not
    /// finite, as early epochs of deep networks may have it.
    #[serde(with = "finite_or_null")]
    pub validation_nll: f64,
    /// Share of the validation rows classified correctly, in `[0, 1]`.
    pub validation_accuracy: f64,
    /// Share of the rows classified correctly, in `[0, 1]`, by which the best epoch is chosen; none where none is
    /// chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_accuracy: Option<f64>,
    /// Training images per second.
    pub images_per_second: f64,
    /// Length of the epoch in seconds, validation included.
    pub seconds: f64,
}

/// JSON has no NaN and no infinity: they are written as null, and null is read as NaN.
mod finite_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*value).filter(|value| value.is_finite()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

impl TrainingHistory {
    /// The epoch whose weights the model has: the one with the highest selection accuracy, the latest of equal ones,
    /// and the last one where none was selected.
    pub fn kept(&self) -> Option<&EpochRecord> {
        let by_selection = |one: &&EpochRecord, other: &&EpochRecord| {
            let accuracy = |record: &EpochRecord| record.selection_accuracy.unwrap_or(0.0);
            accuracy(one).total_cmp(&accuracy(other))
        };
        self.epochs.iter().max_by(by_selection)
    }

    /// The epochs as comma-separated values with a header line.
    pub fn to_csv(&self) -> String {
        let mut csv = String::from(
            "epoch,learning_rate,train_objective,train_nll,train_accuracy,validation_nll,validation_accuracy,\
             images_per_second,seconds,selection_accuracy\n",
        );
        for record in &self.epochs {
            let EpochRecord {
                epoch,
                learning_rate,
                train_objective,
                train_nll,
                train_accuracy,
                validation_nll,
                validation_accuracy,
                selection_accuracy,
                images_per_second,
                seconds,
            } = record;
            let selection = selection_accuracy.map_or(String::new(), |accuracy| format!("{accuracy:.6}"));
            csv.push_str(&format!(
                "{epoch},{learning_rate:.8},{train_objective:.6},{train_nll:.6},{train_accuracy:.6},{validation_nll:.6},\
                 {validation_accuracy:.6},{images_per_second:.1},{seconds:.2},{selection}\n"
            ));
        }
        csv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_are_not_finite_survive_json() {
        let record = EpochRecord {
            epoch: 1,
            learning_rate: 0.1,
            train_objective: 2.0,
            train_nll: f64::INFINITY,
            train_accuracy: 0.5,
            validation_nll: f64::NAN,
            validation_accuracy: 0.25,
            selection_accuracy: None,
            images_per_second: 100.0,
            seconds: 1.0,
        };
        let json = serde_json::to_string(&[record]).unwrap();
        let read: Vec<EpochRecord> = serde_json::from_str(&json).unwrap();
        assert!(read[0].validation_nll.is_nan() && read[0].train_nll.is_nan());
        assert_eq!((read[0].epoch, read[0].validation_accuracy), (1, 0.25));
        let history = TrainingHistory { epochs: read, chart_svg: String::new(), recipe: None };
        assert!(history.to_csv().ends_with("1,0.10000000,2.000000,NaN,0.500000,NaN,0.250000,100.0,1.00,\n"));
    }
}
