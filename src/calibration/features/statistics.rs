//! What a model knows of the features of its training and calibration rows.

use std::sync::Arc;

use half::f16;

use super::early::EarlyScore;
use super::ranks::LogRanks;
use super::training::Training;
use crate::error::{Error, Result};

/// Pooled features of calibration rows, kept in f16.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CalibrationFeatures {
    width: usize,
    features: Vec<f16>,
    rows: Vec<CalibrationRow>,
}

/// What else is known of a calibration row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationRow {
    /// The predicted class.
    pub class: usize,
    /// The model's in-distribution score.
    pub score: f32,
}

impl CalibrationFeatures {
    /// None yet, of rows with `width` numbers.
    pub fn new(width: usize) -> Self {
        Self { width, features: Vec::new(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it does not have as many features as the others.
    pub fn push(&mut self, features: &[f16], row: CalibrationRow) {
        assert_eq!(features.len(), self.width, "rows of one model");
        self.features.extend_from_slice(features);
        self.rows.push(row);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Class and score of all rows.
    pub fn rows(&self) -> &[CalibrationRow] {
        &self.rows
    }

    /// Features `[N, F]` of all rows.
    pub(crate) fn features(&self) -> &[f16] {
        &self.features
    }
}

/// What a model knows of the pooled features of its training and calibration rows. All of it is of unknown images' use:
/// see [`EarlyScore`] and the audit's AdaDetect.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureStatistics {
    training: Training,
    early: Arc<EarlyScore>,
    calibration: CalibrationFeatures,
}

impl FeatureStatistics {
    pub(super) fn new(training: Training, early: EarlyScore) -> Self {
        let calibration = CalibrationFeatures::new(training.width());
        Self { training, early: Arc::new(early), calibration }
    }

    /// From what a file holds.
    ///
    /// # Errors
    /// [`Error::Data`] for parts that do not fit together, or are not finite.
    pub(crate) fn of_parts(parts: FeatureParts) -> Result<Self> {
        let FeatureParts { stages, rows, means, covariance, mds, early, features, calibration } = parts;
        let (width, classes) = (stages.iter().sum::<usize>(), rows.len());
        let fits = means.len() == classes * width
            && covariance.len() == width * width
            && features.len() == calibration.len() * width
            && calibration.iter().all(|row| row.class < classes && row.score.is_finite());
        let finite = means.iter().chain(&covariance).all(|value| value.is_finite())
            && features.iter().all(|value| value.is_finite());
        if !fits || !finite || rows.iter().sum::<u64>() == 0 {
            return Err(Error::data("features", "do not fit the model, or are not finite"));
        }
        let training = Training { stages, rows, means, covariance };
        let early = EarlyScore::of_ranks(&training, LogRanks::try_new(mds)?, LogRanks::try_new(early)?)?;
        let calibration = CalibrationFeatures { width, features, rows: calibration };
        Ok(Self { training, early: Arc::new(early), calibration })
    }

    /// Replaces the calibration rows.
    ///
    /// # Panics
    /// If they have another number of features.
    pub fn set_calibration(&mut self, calibration: CalibrationFeatures) {
        assert_eq!(calibration.width, self.width(), "rows of one model");
        self.calibration = calibration;
    }

    /// Numbers of each stage, as [`Architecture::stages`](crate::network::Architecture::stages).
    pub fn stages(&self) -> &[usize] {
        &self.training.stages
    }

    /// Numbers of all stages: F.
    pub fn width(&self) -> usize {
        self.training.width()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.training.rows.len()
    }

    /// Training rows that are predicted as this class.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn training_rows(&self, class: usize) -> u64 {
        self.training.rows[class]
    }

    /// Mean features `[F]` of these; zeros where there are none.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn class_mean(&self, class: usize) -> &[f32] {
        let width = self.width();
        &self.training.means[class * width..(class + 1) * width]
    }

    /// Mean features `[C, F]` by predicted class.
    pub(crate) fn class_means(&self) -> &[f32] {
        &self.training.means
    }

    /// Covariance `[F, F]` of the training rows within their predicted classes.
    pub fn covariance(&self) -> &[f32] {
        &self.training.covariance
    }

    /// Number of calibration rows.
    pub fn calibration_rows(&self) -> usize {
        self.calibration.len()
    }

    /// Writes the features `[F]` of a calibration row, and says what else is known of it.
    ///
    /// # Panics
    /// If there is no such row, or no room for its features.
    pub fn calibration_row(&self, row: usize, features: &mut [f32]) -> CalibrationRow {
        let width = self.width();
        let stored = &self.calibration.features[row * width..(row + 1) * width];
        assert_eq!(features.len(), width, "room for the features");
        features.iter_mut().zip(stored).for_each(|(to, from)| *to = from.to_f32());
        self.calibration.rows[row]
    }

    /// The calibration rows.
    pub(crate) fn calibration(&self) -> &CalibrationFeatures {
        &self.calibration
    }

    /// The score that they make possible.
    pub fn early_score(&self) -> &Arc<EarlyScore> {
        &self.early
    }
}

/// The parts of statistics as a file holds them.
#[derive(Debug)]
pub(crate) struct FeatureParts {
    pub stages: Vec<usize>,
    /// `[C]`.
    pub rows: Vec<u64>,
    /// `[C, F]`.
    pub means: Vec<f32>,
    /// `[F, F]`.
    pub covariance: Vec<f32>,
    /// MDS of some training rows.
    pub mds: Vec<f32>,
    /// The early features' score of these.
    pub early: Vec<f32>,
    /// `[N, F]`.
    pub features: Vec<f16>,
    /// `[N]`.
    pub calibration: Vec<CalibrationRow>,
}
