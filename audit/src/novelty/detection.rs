//! Which audited rows are strange, by the method that the data allow.

use serde::{Deserialize, Serialize};

use super::adadetect::Scores;
use super::conformal::{WeightedNulls, class_weights};
use super::judged::{Features, Judged};
use super::reviewed::{Kept, Mark};
use super::share::out_of_distribution;
use super::union_ranks::Union;
use dismax::calibration::{Estimate, Scatter, q_values};
use dismax::error::Result;

/// A learnt score's share of unknown rows that is so many times the most that the model's score allows is drift.
const DRIFT_RATIO: f64 = 1.5;

/// How rows were judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnknownMethod {
    /// By a score that is learnt from the audited rows themselves (AdaDetect).
    Adadetect,
    /// By the model's score and the features of the network's early stages.
    Fused,
    /// By the model's score alone.
    Score,
}

/// What was found out.
#[derive(Debug)]
pub(crate) struct Detection {
    pub method: UnknownMethod,
    /// Of each row, by that method; smaller is stranger. Reviewed rows come last.
    pub scores: Vec<f32>,
    /// Smallest false discovery rate at which a row is rejected. NaN for reviewed rows, which are not under test.
    pub q_values: Vec<f32>,
    /// Ascending p-values of the rows under test.
    pub p_values: Vec<f64>,
    /// Equally weighted calibration rows that these are counted among.
    pub calibration_rows: u64,
    /// Estimated share of unknown rows among those under test.
    pub share: Option<Estimate>,
    /// The same of all rows by the model's score alone.
    pub score_share: Option<Estimate>,
    /// The same by the learnt score; none where nothing could be learnt.
    pub learnt_share: Option<Estimate>,
    /// Whether so many rows differ from the calibration rows that the model's score contradicts: a learnt score then
    /// tells another encoding, light or camera rather than unknown kinds.
    pub has_drifted: bool,
    /// Known unknown rows that the method learnt from.
    pub known: u64,
}

/// Judges the rows. `features` are there where the model keeps what is known of its training and calibration rows;
/// `marks` are positions of reviewed rows with what was said of them.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn detect(
    judged: &Judged<'_>,
    features: Option<Features<'_>>,
    marks: &[(usize, Mark)],
) -> Result<Detection> {
    let by_score = out_of_distribution(judged.p_values.iter().copied(), judged.calibration_rows)?;
    let learner = features.map(|features| Learner::new(judged, features, marks)).transpose()?.flatten();
    let (mut has_drifted, mut learnt_share) = (false, None);
    if let Some(learner) = &learner {
        let fused = (!judged.score_has_early).then_some(UnknownMethod::Fused);
        for method in [UnknownMethod::Adadetect].into_iter().chain(fused) {
            let first = learner.test(method, None)?;
            if method == UnknownMethod::Adadetect {
                learnt_share = first.share;
            }
            if !contradicts(first.share, by_score) {
                let known = if method == UnknownMethod::Adadetect { learner.known } else { 0 };
                let detection = learner.review(method, first, marks)?;
                return Ok(Detection { score_share: by_score, learnt_share, has_drifted, known, ..detection });
            }
            has_drifted = true;
        }
    }
    let mut q_values = single(q_values(judged.p_values)?);
    let mut scores = judged.scores.to_vec();
    let mut p_values = judged.p_values.to_vec();
    for (row, _) in marks {
        (q_values[*row], scores[*row], p_values[*row]) = (f32::NAN, f32::INFINITY, f64::INFINITY);
    }
    p_values.retain(|p_value| p_value.is_finite());
    p_values.sort_unstable_by(f64::total_cmp);
    Ok(Detection {
        method: UnknownMethod::Score,
        scores,
        q_values,
        p_values,
        calibration_rows: judged.calibration_rows,
        share: by_score,
        score_share: by_score,
        learnt_share,
        has_drifted,
        known: 0,
    })
}

/// Whether the share by one score is beyond what the other allows. Unknown rows are seen by both, if not equally well;
/// that a learnt score sees far more of them means that it tells all audited rows from the calibration rows.
fn contradicts(learnt: Option<Estimate>, by_score: Option<Estimate>) -> bool {
    learnt.zip(by_score).is_some_and(|(learnt, by_score)| {
        let most = by_score.interval.upper;
        learnt.interval.lower > most && learnt.value > DRIFT_RATIO * most
    })
}

fn single(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|value| value as f32).collect()
}

/// Scores of all rows, and what they are weighed by.
struct Learner<'a> {
    judged: &'a Judged<'a>,
    scores: Scores,
    /// Predicted classes of the calibration rows.
    calibration_classes: Vec<u32>,
    /// Known unknown rows that the scores learnt from.
    known: u64,
}

/// What a score says of the rows that are kept.
struct Tested {
    scores: Union,
    p_values: Vec<f64>,
    calibration_rows: u64,
    share: Option<Estimate>,
}

impl<'a> Learner<'a> {
    /// None where the moments of the training rows cannot be used.
    fn new(judged: &'a Judged<'a>, mut features: Features<'_>, marks: &[(usize, Mark)]) -> Result<Option<Self>> {
        let mut known = features.known.take().unwrap_or_else(|| Scatter::new(features.background.width()));
        let mut unknown: Vec<usize> =
            marks.iter().filter(|(_, mark)| *mark == Mark::Unknown).map(|(row, _)| *row).collect();
        unknown.sort_unstable();
        if !unknown.is_empty() {
            features.audited.each_of(features.rows, |row, features| {
                if unknown.binary_search(&row).is_ok() {
                    known.add(features);
                }
                Ok(())
            })?;
        }
        let towards = features.background.direction_to_unknown(&known);
        let Some(scores) = Scores::of(judged, &mut features, towards.as_ref())? else { return Ok(None) };
        let mut calibration_classes = vec![0; features.background.calibration_rows()];
        features.background.each(|row, _, calibration| calibration_classes[row] = calibration.class as u32);
        Ok(Some(Self { judged, scores, calibration_classes, known: known.rows() }))
    }

    /// Tests the rows that are kept, or all rows, as if there were no known unknown ones, where none are said to be
    /// kept.
    fn test(&self, method: UnknownMethod, kept: Option<&Kept>) -> Result<Tested> {
        let only = kept.map(|kept| self.scores.only(&kept.calibration, &kept.audited));
        let scores = match (method, &only) {
            (UnknownMethod::Fused, Some(only)) => only.fused(),
            (UnknownMethod::Fused, None) => self.scores.fused(),
            (_, Some(only)) => only.adadetect(!self.judged.score_has_early, only.known.as_ref()),
            (_, None) => self.scores.adadetect(!self.judged.score_has_early, None),
        };
        let calibration = classes(&self.calibration_classes, kept.map(|kept| &kept.calibration));
        let audited = classes(self.judged.classes, kept.map(|kept| &kept.audited));
        let number = self.scores.classes;
        let weights = class_weights(&counts(&audited, number), &counts(&calibration, number));
        let weighted = scores.calibration.iter().zip(calibration);
        let nulls = WeightedNulls::new(weighted.map(|(score, class)| (*score, weights[class as usize])).collect());
        let p_values: Vec<f64> = scores.audited.iter().map(|score| nulls.p_value(*score)).collect();
        let calibration_rows = nulls.effective_rows();
        let share = out_of_distribution(p_values.iter().copied(), calibration_rows)?;
        Ok(Tested { scores, p_values, calibration_rows, share })
    }

    /// Leaves reviewed rows out and learns from those that are unknown, if there are any.
    fn review(&self, method: UnknownMethod, first: Tested, marks: &[(usize, Mark)]) -> Result<Detection> {
        let mut scores = first.scores.audited.clone();
        let mut all = single(q_values(&first.p_values)?);
        let mut tested = first;
        if !marks.is_empty() || (self.known > 0 && method == UnknownMethod::Adadetect) {
            let reviewed: Vec<usize> = marks.iter().map(|(row, _)| *row).collect();
            let kept = Kept::of(&tested.scores, &reviewed);
            tested = self.test(method, Some(&kept))?;
            let mut found = tested.scores.audited.iter().zip(q_values(&tested.p_values)?);
            for (row, kept) in kept.audited.iter().enumerate() {
                match kept {
                    true => {
                        let (score, q_value) = found.next().expect("every kept row was tested");
                        (scores[row], all[row]) = (*score, q_value as f32);
                    }
                    // As strange as what was reviewed, but not reviewed: what was said before still stands.
                    false => scores[row] = f32::NEG_INFINITY,
                }
            }
            reviewed.iter().for_each(|row| (scores[*row], all[*row]) = (f32::INFINITY, f32::NAN));
        }
        let Tested { mut p_values, calibration_rows, share, .. } = tested;
        p_values.sort_unstable_by(f64::total_cmp);
        Ok(Detection {
            method,
            scores,
            q_values: all,
            p_values,
            calibration_rows,
            share,
            score_share: None,
            learnt_share: None,
            has_drifted: false,
            known: 0,
        })
    }
}

fn classes(all: &[u32], kept: Option<&Vec<bool>>) -> Vec<u32> {
    match kept {
        Some(kept) => all.iter().zip(kept).filter(|(_, kept)| **kept).map(|(class, _)| *class).collect(),
        None => all.to_vec(),
    }
}

fn counts(classes: &[u32], number: usize) -> Vec<u64> {
    let mut counts = vec![0; number];
    classes.iter().for_each(|class| counts[*class as usize] += 1);
    counts
}

#[cfg(test)]
#[path = "detection_tests.rs"]
mod tests;
