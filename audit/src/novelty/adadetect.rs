//! AdaDetect (Marandon, Lei, Mary and Roquain 2024, arXiv 2208.06685) in closed form: a score that is learnt from the
//! audited rows themselves.
//!
//! The direction in which calibration and audited rows together differ from training rows is the direction of what is
//! new among them. Calibration rows take part in it as audited rows do, so a null row's score is exchangeable with
//! theirs, and the p-values keep their guarantee; training rows need not be exchangeable with anything. Fisher's linear
//! discriminant needs no more of them than their moments, so nothing is fitted by iteration.
//!
//! With few new rows the direction is mostly noise. How much there is to it can be read from its length, again alike for
//! both kinds of rows; the less, the more count the model's score and how usual the early features are.

use super::background::Background;
use super::discriminant::{Direction, Discriminant, total_covariance};
use super::feature_file::FeatureFile;
use super::moments::{Scatter, shares};
use super::union_ranks::{Union, fuse};
use dismax::error::Result;

/// Weight of the learnt direction for each unit by which its signal is above that of noise.
const WEIGHT_OF_SIGNAL: f64 = 2.5;
/// The most that the learnt direction weighs, where the model's score weighs 1.
const MOST_WEIGHT: f64 = 6.0;
/// Weight of the learnt direction from which the early features count no more.
const NO_EARLY: f64 = 4.0;
/// Weight of the direction towards known unknown rows.
const WEIGHT_OF_KNOWN: f64 = 5.0;

/// Values of calibration and audited rows of which scores are made; smaller is stranger.
#[derive(Debug)]
pub(crate) struct Scores {
    /// The model's score.
    pub model: Union,
    /// How usual the early features are.
    pub early: Union,
    /// Along the direction that was learnt from these rows.
    pub learnt: Union,
    /// Along the direction towards known unknown rows; none without such rows.
    pub known: Option<Union>,
    /// Length of the learnt direction: 1 for noise, more with new rows.
    pub signal: f64,
    /// Number of the model's classes.
    pub classes: usize,
}

/// The direction from the training rows towards rows of known unknown kinds; none without such rows.
///
/// The covariance is that of the training rows and, where there are many, half that of the unknown ones, as in a
/// discriminant of two kinds with different covariances.
pub(crate) fn towards_known(background: &Background<'_>, unknown: &Scatter) -> Option<Direction> {
    if unknown.rows == 0 {
        return None;
    }
    let training = &background.training;
    let shares = training.shares();
    let (rows, width) = (unknown.rows as f64, training.width() as f64);
    let covariance = total_covariance(training, &shares) + unknown.covariance() * (0.5 * rows / (rows + width));
    let discriminant = Discriminant::of(&covariance)?;
    Some(discriminant.towards(&(unknown.mean() - training.mixture(&shares))))
}

impl Scores {
    /// Values of all rows: `model_scores` are those of the rows in `features`. None where the moments cannot be used.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(
        background: &Background<'_>,
        model_scores: &[f32],
        features: &mut FeatureFile,
        known: Option<&Direction>,
    ) -> Result<Option<Self>> {
        let union = background.sums().and(features.sums());
        let shares = shares(&union.class_rows);
        let training = &background.training;
        let Some(discriminant) = Discriminant::of(&total_covariance(training, &shares)) else { return Ok(None) };
        let learnt = discriminant.towards(&(union.mean() - training.mixture(&shares)));
        let zeros = || Union::zeros(background.calibration_rows(), model_scores.len());
        let mut scores = Self {
            model: zeros(),
            early: zeros(),
            learnt: zeros(),
            known: known.map(|_| zeros()),
            // Chance alone gives every feature a squared length of one part of all rows.
            signal: learnt.distance * union.rows() as f64 / training.width() as f64,
            classes: training.class_rows.len(),
        };
        background.each(|row, features, calibration| {
            scores.model.calibration[row] = calibration.score;
            scores.early.calibration[row] = background.usualness(features);
            scores.learnt.calibration[row] = learnt.score(features);
            if let Some((values, direction)) = scores.known.as_mut().zip(known) {
                values.calibration[row] = direction.score(features);
            }
        });
        scores.model.audited.copy_from_slice(model_scores);
        features.each(|row, features| {
            scores.early.audited[row] = background.usualness(features);
            scores.learnt.audited[row] = learnt.score(features);
            if let Some((values, direction)) = scores.known.as_mut().zip(known) {
                values.audited[row] = direction.score(features);
            }
            Ok(())
        })?;
        Ok(Some(scores))
    }

    /// The same of the rows that are kept.
    pub fn only(&self, keeps_calibration: &[bool], keeps_audited: &[bool]) -> Self {
        let only = |union: &Union| union.only(keeps_calibration, keeps_audited);
        Self {
            model: only(&self.model),
            early: only(&self.early),
            learnt: only(&self.learnt),
            known: self.known.as_ref().map(only),
            signal: self.signal,
            classes: self.classes,
        }
    }

    /// The learnt score, with the values towards known unknown rows where these shall count. `with_early` says whether the
    /// early features may count, which they do already where the model's score is
    /// [`Score::MdsEarly`](dismax::Score::MdsEarly).
    pub fn adadetect(&self, with_early: bool, known: Option<&Union>) -> Union {
        let learnt = (WEIGHT_OF_SIGNAL * (self.signal - 1.0)).clamp(0.0, MOST_WEIGHT);
        let model = (1.0, &self.model);
        match known {
            Some(known) => fuse(&[model, (learnt, &self.learnt), (WEIGHT_OF_KNOWN, known)]),
            None => {
                let early = if with_early { (1.0 - learnt / NO_EARLY).max(0.0) } else { 0.0 };
                fuse(&[model, (learnt, &self.learnt), (early, &self.early)])
            }
        }
    }

    /// The model's score and the early features alone, which learn nothing from the audited rows.
    pub fn fused(&self) -> Union {
        fuse(&[(1.0, &self.model), (1.0, &self.early)])
    }
}
