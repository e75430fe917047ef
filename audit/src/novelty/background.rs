//! What is known before an audit: training and calibration rows.

use nalgebra::{DMatrix, DVector};

use super::moments::{FeatureSums, Moments};
use dismax::calibration::{CalibrationRow, FeatureStatistics};

/// Training rows as moments, calibration rows one by one.
#[derive(Debug)]
pub(crate) struct Background<'a> {
    pub training: Moments,
    statistics: &'a FeatureStatistics,
}

impl<'a> Background<'a> {
    /// From what the model keeps; none where it keeps no calibration rows.
    pub fn of(statistics: &'a FeatureStatistics) -> Option<Self> {
        let (width, classes) = (statistics.width(), statistics.classes());
        let mean = |class| DVector::from_iterator(width, statistics.class_mean(class).iter().copied().map(f64::from));
        let covariance = statistics.covariance().iter().copied().map(f64::from);
        let training = Moments {
            class_rows: (0..classes).map(|class| statistics.training_rows(class)).collect(),
            class_means: (0..classes).map(mean).collect(),
            // Symmetric: the order of rows and columns does not matter.
            covariance: DMatrix::from_iterator(width, width, covariance),
        };
        (statistics.calibration_rows() > 0).then_some(Self { training, statistics })
    }

    /// Number of calibration rows.
    pub fn calibration_rows(&self) -> usize {
        self.statistics.calibration_rows()
    }

    /// Shows every calibration row.
    pub fn each(&self, mut show: impl FnMut(usize, &[f32], CalibrationRow)) {
        let mut features = vec![0.0; self.statistics.width()];
        for row in 0..self.calibration_rows() {
            let known = self.statistics.calibration_row(row, &mut features);
            show(row, &features, known);
        }
    }

    /// Sums over the calibration rows.
    pub fn sums(&self) -> FeatureSums {
        let mut sums = FeatureSums::new(self.training.width(), self.training.class_rows.len());
        self.each(|_, features, known| sums.add(features, known.class));
        sums
    }

    /// How usual features are by those of the network's early stages; higher is more usual.
    pub fn usualness(&self, features: &[f32]) -> f32 {
        self.statistics.early_score().usualness(features) as f32
    }
}
