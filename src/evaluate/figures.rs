//! The figures of an evaluation.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{DatasetLogits, ScoreHistogram};
use crate::calibration::{Calibration, CalibrationScores, Estimate};
use crate::error::{Error, Result};
use crate::metrics::{
    ClassificationMetrics, DEFAULT_BINS, Interval, LabelledLogits, OodMetrics, Reliability, ece_interval,
    share_interval,
};
use crate::score::{Score, class_and_confidence};

/// Confidence level of all intervals.
const LEVEL: f64 = 0.95;
/// Bootstrap resamples of the interval of the ECE.
const RESAMPLES: usize = 1000;
/// Seed of the bootstrap: the same rows give the same interval.
const SEED: u64 = 0;

/// Everything that `dismax evaluate` finds out. As JSON it has these fields under these names; they stay.
///
/// Rates and shares lie in [0, 1], NLL is in nats, intervals have a confidence of 95 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Digest of the model's files.
    pub model_digest: String,
    /// Calibrated temperature of the model's probabilities.
    pub temperature: f32,
    /// The in-distribution score that the model flags with; taken at temperature 1.
    pub score: Score,
    /// Share of in-distribution rows that the model's thresholds may flag.
    pub alpha: f64,
    /// Smallest `ood_score` that is flagged; none where each predicted class has a threshold of its own.
    pub ood_score_threshold: Option<f32>,
    /// The test set.
    pub in_dist: InDistFigures,
    /// The out-of-distribution sets, in the order given.
    pub ood: Vec<OodFigures>,
    /// How the `ood_score` is distributed in each set.
    pub ood_score_histogram: ScoreHistogram,
}

/// Figures of the test set: rows of the model's classes that had no part in training and calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InDistFigures {
    /// Rows read.
    pub rows: u64,
    /// Rows that gave logits.
    pub scored: u64,
    /// Rows that did not.
    pub failed: u64,
    /// Rows that did not, by the code that `dismax score` writes to `error`.
    pub errors: BTreeMap<String, u64>,
    /// Rows that are left out because the model keeps them as examples of unknown images.
    #[serde(default)]
    pub examples: u64,
    /// Scored rows without a label. They count in `flagged` and in the figures of OOD sets, nowhere else.
    pub unlabelled: u64,
    /// Share of labelled rows whose predicted class is the label, with its exact interval.
    pub accuracy: Estimate,
    /// ECE at the model's temperature, with its bootstrap interval (see [`ece_interval`]).
    pub ece: Estimate,
    /// Probabilities at temperature 1.
    pub before: ClassificationMetrics,
    /// Probabilities at the model's temperature.
    pub after: ClassificationMetrics,
    /// Rows that the model flags: false alarms.
    pub flagged: Flagged,
    /// Reliability diagram at temperature 1.
    pub reliability_before: Reliability,
    /// Reliability diagram at the model's temperature.
    pub reliability_after: Reliability,
}

/// Figures of one out-of-distribution set against the test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OodFigures {
    /// Name of the set.
    pub name: String,
    /// Rows read.
    pub rows: u64,
    /// Rows that gave logits.
    pub scored: u64,
    /// Rows that did not.
    pub failed: u64,
    /// Rows that did not, by code.
    pub errors: BTreeMap<String, u64>,
    /// Rows that are left out because the model keeps them as examples of unknown images.
    #[serde(default)]
    pub examples: u64,
    /// Rows that the model flags: detected.
    pub flagged: Flagged,
    /// How well each score separates this set from the test set at any threshold, by [`Score::name`].
    pub scores: BTreeMap<String, OodMetrics>,
}

/// How many scored rows of a set the model's thresholds flag.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Flagged {
    /// Flagged rows.
    pub rows: u64,
    /// Their share of the scored rows.
    pub share: f64,
    /// Exact interval of the share.
    pub interval: Interval,
}

impl Evaluation {
    /// Computes all figures of the model that computed the logits. `ood` are named sets, possibly none; see
    /// [`set_names`].
    ///
    /// # Errors
    /// [`Error::Model`] if the model is not calibrated or another one scored an OOD set; [`Error::Data`] where the test
    /// set has no labels or a set has no row that could be scored.
    pub fn try_new(in_dist: &DatasetLogits, ood: &[(String, DatasetLogits)]) -> Result<Self> {
        let model = in_dist.model();
        let calibration = model.require_calibration()?;
        if let Some((name, _)) = ood.iter().find(|(_, set)| !set.model().is_same(model)) {
            return Err(Error::model(
                model.path(),
                format!("another model scored the set {name}; score it with this one"),
            ));
        }
        for (name, set) in ood {
            if set.scored() == 0 {
                let message = format!("none of its {} rows could be scored{}", set.rows(), set.most_frequent_error());
                return Err(Error::data(name, message));
            }
        }
        let ood_score_threshold = threshold(calibration);
        Ok(Self {
            model_digest: model.digest().to_owned(),
            temperature: calibration.temperature,
            score: calibration.score,
            alpha: calibration.alpha,
            ood_score_threshold,
            in_dist: InDistFigures::of(calibration, in_dist)?,
            ood: ood_figures(calibration, in_dist, ood)?,
            ood_score_histogram: ScoreHistogram::of(
                &ood_scores(calibration, in_dist),
                &ood.iter().map(|(_, set)| ood_scores(calibration, set)).collect::<Vec<_>>(),
                ood_score_threshold,
            ),
        })
    }
}

impl InDistFigures {
    fn of(calibration: &Calibration, set: &DatasetLogits) -> Result<Self> {
        let rows = set.labelled()?;
        let before = ClassificationMetrics::of(&rows, 1.0)?;
        let after = ClassificationMetrics::of(&rows, calibration.temperature)?;
        let correct = rows.correct();
        let right = correct.iter().filter(|&&correct| correct).count() as u64;
        let confidences = rows.confidences(calibration.temperature);
        Ok(Self {
            rows: set.rows(),
            scored: set.scored(),
            failed: set.failed(),
            errors: errors_by_name(set),
            examples: set.examples(),
            unlabelled: set.unlabelled(),
            accuracy: Estimate { value: after.accuracy, interval: share_interval(right, rows.rows() as u64, LEVEL)? },
            ece: Estimate {
                value: after.ece,
                interval: ece_interval(&confidences, &correct, DEFAULT_BINS, RESAMPLES, LEVEL, SEED)?,
            },
            before,
            after,
            flagged: Flagged::of(calibration, set)?,
            reliability_before: reliability(&rows, 1.0)?,
            reliability_after: reliability(&rows, calibration.temperature)?,
        })
    }
}

impl Flagged {
    fn of(calibration: &Calibration, set: &DatasetLogits) -> Result<Self> {
        let mut flagged = 0;
        for (logits, score) in set.logits().zip(own_scores(calibration, set)) {
            let (class, _) = class_and_confidence(logits, calibration.temperature);
            let verdict = calibration.scores.verdict(class, score, calibration.alpha);
            flagged += u64::from(verdict.expect("only finite rows are kept").is_ood);
        }
        let rows = set.scored();
        Ok(Self { rows: flagged, share: flagged as f64 / rows as f64, interval: share_interval(flagged, rows, LEVEL)? })
    }
}

/// Short names for datasets that a user gave as files, folders, patterns or `-`: the file's or folder's name without
/// extension, `stdin` for `-`, and what the user wrote where two would have the same name.
pub fn set_names<S: AsRef<str>>(arguments: &[S]) -> Vec<String> {
    let short: Vec<String> = arguments.iter().map(|argument| short_name(argument.as_ref())).collect();
    let unique = |name: &String| short.iter().filter(|other| *other == name).count() == 1;
    let names = short.iter().zip(arguments);
    names.map(|(name, argument)| if unique(name) { name.clone() } else { argument.as_ref().to_owned() }).collect()
}

fn short_name(argument: &str) -> String {
    let stem = match argument {
        "-" => return "stdin".into(),
        _ => Path::new(argument).file_stem(),
    };
    match stem.map(|stem| stem.to_string_lossy().into_owned()) {
        Some(stem) if !stem.contains(['*', '?', '[']) => stem,
        _ => argument.to_owned(),
    }
}

fn ood_figures(
    calibration: &Calibration,
    in_dist: &DatasetLogits,
    sets: &[(String, DatasetLogits)],
) -> Result<Vec<OodFigures>> {
    let mut figures = Vec::with_capacity(sets.len());
    for (name, set) in sets {
        figures.push(OodFigures {
            name: name.clone(),
            rows: set.rows(),
            scored: set.scored(),
            failed: set.failed(),
            errors: errors_by_name(set),
            examples: set.examples(),
            flagged: Flagged::of(calibration, set)?,
            scores: BTreeMap::new(),
        });
    }
    for score in Score::ALL {
        // Once for all sets: the test set is often the largest.
        let Some(known) = in_dist.scores(score) else { continue };
        for (figures, (_, set)) in figures.iter_mut().zip(sets) {
            let scores = set.scores(score).expect("all sets are scored by one model");
            figures.scores.insert(score.name().to_owned(), OodMetrics::of_scores(&known, &scores)?);
        }
    }
    Ok(figures)
}

fn ood_scores(calibration: &Calibration, set: &DatasetLogits) -> Vec<f32> {
    own_scores(calibration, set).into_iter().map(|score| -score).collect()
}

/// The in-distribution score that the model is calibrated with.
fn own_scores(calibration: &Calibration, set: &DatasetLogits) -> Vec<f32> {
    set.scores(calibration.score).expect("a model that is calibrated with a score can give it")
}

/// Minus the largest in-distribution score that is flagged.
fn threshold(calibration: &Calibration) -> Option<f32> {
    match &calibration.scores {
        CalibrationScores::AllRows(scores) => scores.threshold(calibration.alpha).map(|threshold| -threshold),
        CalibrationScores::PerClass(_) => None,
    }
}

fn reliability(rows: &LabelledLogits, temperature: f32) -> Result<Reliability> {
    Reliability::equal_width(&rows.confidences(temperature), &rows.correct(), DEFAULT_BINS)
}

fn errors_by_name(set: &DatasetLogits) -> BTreeMap<String, u64> {
    set.errors().iter().map(|(code, &count)| (code.as_str().to_owned(), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_where_they_differ() {
        let names = |arguments: &[&str]| set_names(arguments);
        assert_eq!(names(&["data/svhn.parquet", "lsun/", "-"]), ["svhn", "lsun", "stdin"]);
        assert_eq!(names(&["a/test.parquet", "b/test.arrow"]), ["a/test.parquet", "b/test.arrow"]);
        assert_eq!(names(&["data/*.parquet", ".."]), ["data/*.parquet", ".."]);
    }
}
