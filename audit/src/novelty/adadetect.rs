//! AdaDetect (Marandon, Lei, Mary and Roquain 2024, arXiv 2208.06685) in closed form: a score that is learnt from the
//! audited rows themselves.
//!
//! The direction in which calibration and audited rows together differ from training rows is the direction of what is
//! new among them. Calibration rows take part in it as audited rows do, so a null row's score is exchangeable with
//! theirs, and the p-values keep their guarantee; training rows need not be exchangeable with anything. Fisher's linear
//! discriminant needs no more of them than their moments, so nothing is fitted by iteration.
//!
//! With few new rows the direction is mostly noise. How much there is to it can be read from its length, again alike
//! for both kinds of rows; the less, the more count the model's score and how usual the early features are.

use super::judged::{Features, Judged};
use super::sums::FeatureSums;
use super::union_ranks::{Union, fuse};
use dismax::calibration::Direction;
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

impl Scores {
    /// Values of all rows; `known` is the direction towards known unknown ones. None where the moments cannot be used.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(judged: &Judged<'_>, features: &mut Features<'_>, known: Option<&Direction>) -> Result<Option<Self>> {
        let Features { background, audited, rows, .. } = features;
        let mut union = FeatureSums::new(background.width(), background.classes());
        background.each(|_, features, calibration| union.add(features, calibration.class));
        audited.each_of(rows, |row, features| {
            union.add(features, judged.classes[row] as usize);
            Ok(())
        })?;
        let Some(learnt) = background.direction_to(&union) else { return Ok(None) };
        let zeros = || Union::zeros(background.calibration_rows(), judged.scores.len());
        let mut scores = Self {
            model: zeros(),
            early: zeros(),
            learnt: zeros(),
            known: known.map(|_| zeros()),
            // Chance alone gives every feature a squared length of one part of all rows.
            signal: learnt.distance() * union.rows() as f64 / background.width() as f64,
            classes: background.classes(),
        };
        background.each(|row, features, calibration| {
            scores.model.calibration[row] = calibration.score;
            scores.early.calibration[row] = background.usualness(features);
            scores.learnt.calibration[row] = learnt.score(features) as f32;
            if let Some((values, direction)) = scores.known.as_mut().zip(known) {
                values.calibration[row] = direction.score(features) as f32;
            }
        });
        scores.model.audited.copy_from_slice(judged.scores);
        audited.each_of(rows, |row, features| {
            scores.early.audited[row] = background.usualness(features);
            scores.learnt.audited[row] = learnt.score(features) as f32;
            if let Some((values, direction)) = scores.known.as_mut().zip(known) {
                values.audited[row] = direction.score(features) as f32;
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

    /// The learnt score, with the values towards known unknown rows where these shall count. `with_early` says whether
    /// the early features may count, which they do already in some scores of models.
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
