//! What a model knows of the features of its training and calibration rows.

use std::sync::Arc;

use half::f16;

use super::discriminant::{Direction, Discriminant};
use super::early::EarlyScore;
use super::examples::UnknownExamples;
use super::fused::FeatureScore;
use super::ranks::LogRanks;
use super::scatter::Scatter;
use super::training::Training;
use super::unknown::{UnknownScore, direction_to_unknown};
use crate::error::{Error, Result};
use crate::score::Score;

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

/// What a model knows of the pooled features of its training and calibration rows, and of examples of unknown images.
/// All of it is of unknown images' use: see [`FeatureScore`] and the audit's AdaDetect.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureStatistics {
    training: Training,
    early: Arc<EarlyScore>,
    calibration: CalibrationFeatures,
    unknown: Option<UnknownExamples>,
}

impl FeatureStatistics {
    pub(super) fn new(training: Training, early: EarlyScore) -> Self {
        let calibration = CalibrationFeatures::new(training.width());
        Self { training, early: Arc::new(early), calibration, unknown: None }
    }

    /// Of embeddings, from rows `[C]`, means `[C, F]` and covariance `[F, F]` within classes, and MDS of some rows.
    ///
    /// An embedding has no early stages: [`Score::MdsEarly`](crate::score::Score::MdsEarly) orders rows as
    /// [`Score::Mds`](crate::score::Score::Mds) does.
    ///
    /// # Errors
    /// [`Error::Data`] for parts that do not fit together, or are not finite.
    pub fn of_embeddings(rows: &[u64], means: &[f64], covariance: &[f64], mds: Vec<f32>) -> Result<Self> {
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
        Self::of_parts(FeatureParts {
            stages: vec![means.len() / rows.len().max(1)],
            rows: rows.to_vec(),
            means: single(means),
            covariance: single(covariance),
            early: vec![0.0; mds.len()],
            mds,
            features: Vec::new(),
            calibration: Vec::new(),
            unknown: None,
        })
    }

    /// From what a file holds.
    ///
    /// # Errors
    /// [`Error::Data`] for parts that do not fit together, or are not finite.
    pub(crate) fn of_parts(parts: FeatureParts) -> Result<Self> {
        let FeatureParts { stages, rows, means, covariance, mds, early, features, calibration, unknown } = parts;
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
        if unknown.as_ref().is_some_and(|unknown| unknown.scatter().width() != width) {
            return Err(Error::data(
                "examples of unknown images",
                "have another number of features than the training rows",
            ));
        }
        let training = Training { stages, rows, means, covariance };
        let early = EarlyScore::of_ranks(&training, LogRanks::try_new(mds)?, LogRanks::try_new(early)?)?;
        let calibration = CalibrationFeatures { width, features, rows: calibration };
        Ok(Self { training, early: Arc::new(early), calibration, unknown })
    }

    /// Replaces the calibration rows.
    ///
    /// # Panics
    /// If they have another number of features.
    pub fn set_calibration(&mut self, calibration: CalibrationFeatures) {
        assert_eq!(calibration.width, self.width(), "rows of one model");
        self.calibration = calibration;
    }

    /// Replaces the examples of unknown images, or forgets them. What is kept of their moments are f32 numbers.
    ///
    /// # Errors
    /// [`Error::Config`] for examples of another number of features, and where there are none in them.
    pub fn set_unknown(&mut self, examples: Option<UnknownExamples>) -> Result<()> {
        if let Some(examples) = examples.as_ref() {
            if examples.scatter().width() != self.width() {
                return Err(Error::Config("the examples' features are those of another network".into()));
            }
            if examples.is_empty() {
                return Err(Error::Config("there is no usable image among the examples of unknown images".into()));
            }
        }
        self.unknown = examples.map(|examples| examples.rounded());
        Ok(())
    }

    /// Examples of unknown images; none where nothing was given.
    pub fn unknown(&self) -> Option<&UnknownExamples> {
        self.unknown.as_ref()
    }

    /// What gives a score that needs features; none for a score of logits alone.
    ///
    /// # Errors
    /// [`Error::NoUnknownExamples`] for one that needs examples of unknown images, where there are none;
    /// [`Error::Data`] for moments that cannot be used.
    pub fn feature_score(&self, score: Score) -> Result<Option<FeatureScore>> {
        if !score.needs_features() {
            return Ok(None);
        }
        let unknown = match (score.needs_unknown(), &self.unknown) {
            (false, _) => None,
            (true, None) => return Err(Error::NoUnknownExamples { score: score.name() }),
            (true, Some(examples)) => {
                Some(UnknownScore::of(&self.training, examples.scatter()).ok_or_else(|| {
                    Error::data("moments of training rows", "the covariance is not positive definite")
                })?)
            }
        };
        Ok(Some(FeatureScore::new(&self.early, score.counts_early(), unknown)))
    }

    /// The direction from the training rows, where their predicted classes have these shares `[C]`, to rows with this
    /// mean `[F]`. None where the moments cannot be used.
    #[doc(hidden)]
    pub fn direction_to(&self, mean: &[f64], shares: &[f64]) -> Option<Direction> {
        let mut difference = -self.training.mean(shares);
        difference.iter_mut().zip(mean).for_each(|(sum, value)| *sum += value);
        Some(Discriminant::of(&self.training.total_covariance(shares))?.towards(&difference))
    }

    /// The direction from the training rows to rows of known unknown kinds. None without such rows, and where the
    /// moments cannot be used.
    #[doc(hidden)]
    pub fn direction_to_unknown(&self, unknown: &Scatter) -> Option<Direction> {
        direction_to_unknown(&self.training, unknown)
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

    /// How usual the features of early stages are.
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
    pub unknown: Option<UnknownExamples>,
}
