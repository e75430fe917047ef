//! What is known before an audit: training and calibration rows.

use super::sums::FeatureSums;
use dismax::calibration::{CalibrationRow, Direction, FeatureStatistics, Scatter};

/// Training rows as moments, calibration rows one by one.
#[derive(Debug)]
pub(crate) struct Background<'a> {
    statistics: &'a FeatureStatistics,
}

impl<'a> Background<'a> {
    /// From what the model keeps; none where it keeps no calibration rows.
    pub fn of(statistics: &'a FeatureStatistics) -> Option<Self> {
        (statistics.calibration_rows() > 0).then_some(Self { statistics })
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.statistics.width()
    }

    /// Number of the model's classes.
    pub fn classes(&self) -> usize {
        self.statistics.classes()
    }

    /// The direction in which these rows differ from training rows with as common classes; none where the moments
    /// cannot be used.
    pub fn direction_to(&self, rows: &FeatureSums) -> Option<Direction> {
        self.statistics.direction_to(&rows.mean(), &rows.shares())
    }

    /// The direction from the training rows towards rows of known unknown kinds; none without such rows.
    pub fn direction_to_unknown(&self, unknown: &Scatter) -> Option<Direction> {
        self.statistics.direction_to_unknown(unknown)
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

    /// How usual features are by those of the network's early stages; higher is more usual.
    pub fn usualness(&self, features: &[f32]) -> f32 {
        self.statistics.early_score().usualness(features) as f32
    }
}
