//! What each epoch of a training gave.

use serde::{Deserialize, Serialize};

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
    pub train_nll: f64,
    /// Share of the plain training images classified correctly, in `[0, 1]`.
    pub train_accuracy: f64,
    /// Mean negative log-likelihood in nats of the validation rows at temperature 1.
    pub validation_nll: f64,
    /// Share of the validation rows classified correctly, in `[0, 1]`.
    pub validation_accuracy: f64,
    /// Training images per second.
    pub images_per_second: f64,
    /// Length of the epoch in seconds, validation included.
    pub seconds: f64,
}

/// The epochs as comma-separated values with a header line.
pub fn to_csv(records: &[EpochRecord]) -> String {
    let mut csv = String::from(
        "epoch,learning_rate,train_objective,train_nll,train_accuracy,validation_nll,validation_accuracy,\
         images_per_second,seconds\n",
    );
    for record in records {
        let EpochRecord {
            epoch,
            learning_rate,
            train_objective,
            train_nll,
            train_accuracy,
            validation_nll,
            validation_accuracy,
            images_per_second,
            seconds,
        } = record;
        csv.push_str(&format!(
            "{epoch},{learning_rate:.8},{train_objective:.6},{train_nll:.6},{train_accuracy:.6},{validation_nll:.6},\
             {validation_accuracy:.6},{images_per_second:.1},{seconds:.2}\n"
        ));
    }
    csv
}
