//! Everything that calibration finds out about a model: what `calibration.json` holds.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{ConformalScores, MondrianScores, TemperatureFit, TemperatureSearch, Verdict, fit_temperature};
use crate::error::{Result, RowError};
use crate::metrics::{DEFAULT_BINS, Interval, LabelledLogits, Reliability, ece_interval, share_interval};
use crate::score::Score;

/// Confidence level of all intervals.
const LEVEL: f64 = 0.95;
/// Bootstrap resamples of the ECE intervals.
const RESAMPLES: usize = 1000;

/// How to calibrate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationOptions {
    /// Share of in-distribution rows that may be flagged, in (0, 1).
    pub alpha: f64,
    /// The model's in-distribution score.
    pub score: Score,
    /// Whether each predicted class gets thresholds of its own (Mondrian conformal prediction).
    pub per_class: bool,
    /// How the temperature is searched.
    pub search: TemperatureSearch,
    /// Fixes the folds and the bootstrap.
    pub seed: u64,
}

impl Default for CalibrationOptions {
    fn default() -> Self {
        Self { alpha: 0.05, score: Score::default(), per_class: false, search: TemperatureSearch::default(), seed: 0 }
    }
}

/// A value and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value on the rows at hand.
    pub value: f64,
    /// Where the value of all such rows lies.
    pub interval: Interval,
}

/// Temperature, thresholds and how well both work on rows that were not used to fit them.
///
/// Temperature and thresholds are fitted on all calibration rows. The figures about them are cross-fitted: each half of
/// the rows is judged with what the other half gives, so no row judges itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Divide logits by this before the softmax; above 0.
    pub temperature: f32,
    /// The fit on all rows.
    pub fit: TemperatureFit,
    /// ECE at temperature 1.
    pub ece_before: Estimate,
    /// ECE at the temperature of the other half, with its bootstrap interval.
    pub ece_after: Estimate,
    /// The in-distribution score that the thresholds belong to. It is taken at temperature 1.
    pub score: Score,
    /// Share of in-distribution rows that may be flagged.
    pub alpha: f64,
    /// Share of rows flagged by the thresholds of the other half, with its exact interval.
    pub false_alarm_rate: Estimate,
    /// Rows calibrated on.
    pub rows: u64,
    /// Where they come from, in words.
    pub source: String,
    /// Scores of the calibration rows.
    pub scores: CalibrationScores,
}

/// Calibration scores of all rows together or by predicted class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationScores {
    /// One set for all rows.
    AllRows(ConformalScores),
    /// One set per predicted class with enough rows.
    PerClass(MondrianScores),
}

impl CalibrationScores {
    /// P-value and flag of a row with this predicted class and in-distribution score.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn verdict(&self, class: usize, score: f32, alpha: f64) -> Result<Verdict, RowError> {
        match self {
            Self::AllRows(scores) => scores.verdict(score, alpha),
            Self::PerClass(scores) => scores.verdict(class, score, alpha),
        }
    }

    /// The scores of all rows, ascending.
    pub fn all(&self) -> &ConformalScores {
        match self {
            Self::AllRows(scores) => scores,
            Self::PerClass(scores) => scores.all(),
        }
    }

    fn of(rows: &Judged, options: &CalibrationOptions, classes: usize) -> Result<Self> {
        Ok(match options.per_class {
            true => Self::PerClass(MondrianScores::try_new(&rows.scores, &rows.predicted, classes, options.alpha)?),
            false => Self::AllRows(ConformalScores::try_new(rows.scores.clone())?),
        })
    }
}

impl Calibration {
    /// Calibrates on held-out rows; `source` says in words where they come from.
    ///
    /// # Errors
    /// Too few rows for `alpha`, an `alpha` outside (0, 1), a temperature at the end of its range.
    pub fn fit(rows: &LabelledLogits, options: &CalibrationOptions, source: &str) -> Result<Self> {
        let judged = Judged::of(rows, options.score);
        let scores = CalibrationScores::of(&judged, options, rows.classes())?;
        scores.all().check_alpha(options.alpha)?;
        let fit = fit_temperature(rows, &options.search)?;

        let correct = rows.correct();
        let before = rows.confidences(1.0);
        let mut after = vec![0.0f32; rows.rows()];
        let mut flagged = 0;
        let halves = halves(rows.rows(), options.seed);
        for (here, there) in [(&halves[0], &halves[1]), (&halves[1], &halves[0])] {
            let (logits, labels) = select(rows, there);
            let other = LabelledLogits::try_new(&logits, rows.classes(), &labels)?;
            // Half of the rows may be too few for a fit that is fine on all; the fit on all then stands in.
            let temperature = fit_temperature(&other, &options.search).map_or(fit.temperature, |fit| fit.temperature);
            let thresholds = CalibrationScores::of(&Judged::of(&other, options.score), options, rows.classes())?;
            let confidences = rows.confidences(temperature);
            for &row in here {
                after[row] = confidences[row];
                let verdict = thresholds.verdict(judged.predicted[row], judged.scores[row], options.alpha);
                // Finite logits give finite scores, so a verdict exists.
                flagged += u64::from(verdict.is_ok_and(|verdict| verdict.is_ood));
            }
        }
        let estimate = |confidences: &[f32]| -> Result<Estimate> {
            Ok(Estimate {
                value: Reliability::equal_width(confidences, &correct, DEFAULT_BINS)?.ece(),
                interval: ece_interval(confidences, &correct, DEFAULT_BINS, RESAMPLES, LEVEL, options.seed)?,
            })
        };
        let count = rows.rows() as u64;
        Ok(Self {
            temperature: fit.temperature,
            fit,
            ece_before: estimate(&before)?,
            ece_after: estimate(&after)?,
            score: options.score,
            alpha: options.alpha,
            false_alarm_rate: Estimate {
                value: flagged as f64 / count as f64,
                interval: share_interval(flagged, count, LEVEL)?,
            },
            rows: count,
            source: source.to_owned(),
            scores,
        })
    }

    /// P-value and flag of a row.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn verdict(&self, class: usize, score: f32) -> Result<Verdict, RowError> {
        self.scores.verdict(class, score, self.alpha)
    }
}

/// Scores and predicted classes of the rows.
struct Judged {
    scores: Vec<f32>,
    predicted: Vec<usize>,
}

impl Judged {
    fn of(rows: &LabelledLogits, score: Score) -> Self {
        let mut probabilities = vec![0.0; rows.classes()];
        let judged = rows.iter().map(|(logits, _)| {
            let row = crate::score::row(logits, 1.0, score, &mut probabilities);
            (row.score, row.class)
        });
        let (scores, predicted) = judged.unzip();
        Self { scores, predicted }
    }
}

/// Two random halves of the rows; one of a single row is empty, so both then hold it.
fn halves(rows: usize, seed: u64) -> [Vec<usize>; 2] {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let second = order.split_off(rows / 2);
    if order.is_empty() { [second.clone(), second] } else { [order, second] }
}

fn select(rows: &LabelledLogits, wanted: &[usize]) -> (Vec<f32>, Vec<i64>) {
    let all: Vec<_> = rows.iter().collect();
    let mut logits = Vec::with_capacity(wanted.len() * rows.classes());
    for &row in wanted {
        logits.extend_from_slice(all[row].0);
    }
    (logits, wanted.iter().map(|&row| all[row].1 as i64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// Rows of four classes whose logits are `sharpness` times too sure, a fifth of them labelled at random.
    fn rows(count: usize, sharpness: f32) -> (Vec<f32>, Vec<i64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let class = rng.random_range(0..4usize);
            let margin = rng.random_range(0.5..3.0f32);
            logits.extend((0..4).map(|c| if c == class { sharpness * margin } else { 0.0 }));
            let label = if rng.random::<f32>() < 0.2 { rng.random_range(0..4) } else { class };
            labels.push(label as i64);
        }
        (logits, labels)
    }

    #[test]
    fn calibration_improves_rows_that_were_not_used() {
        let (logits, labels) = rows(4000, 4.0);
        let rows = LabelledLogits::try_new(&logits, 4, &labels).unwrap();
        let calibration = Calibration::fit(&rows, &CalibrationOptions::default(), "made up").unwrap();
        assert!(calibration.temperature > 1.2, "{}", calibration.temperature);
        assert!(calibration.ece_after.value < calibration.ece_before.value, "{calibration:?}");
        assert!(calibration.ece_after.value >= calibration.fit.ece_after - 1e-9, "no row may judge itself");
        let rate = calibration.false_alarm_rate;
        assert!(rate.interval.lower <= 0.05 && rate.interval.upper >= 0.05, "{rate:?}");
    }

    #[test]
    fn thresholds_per_class_and_the_json_survive() {
        let (logits, labels) = rows(2000, 1.0);
        let rows = LabelledLogits::try_new(&logits, 4, &labels).unwrap();
        let options = CalibrationOptions { per_class: true, score: Score::Mps, ..CalibrationOptions::default() };
        let calibration = Calibration::fit(&rows, &options, "made up").unwrap();
        assert!(
            matches!(&calibration.scores, CalibrationScores::PerClass(scores) if scores.fallback_classes().is_empty())
        );
        let json = serde_json::to_string(&calibration).unwrap();
        assert_eq!(serde_json::from_str::<Calibration>(&json).unwrap(), calibration);
    }

    #[test]
    fn too_few_rows_are_refused_with_a_number() {
        let (logits, labels) = rows(10, 1.0);
        let rows = LabelledLogits::try_new(&logits, 4, &labels).unwrap();
        let error = Calibration::fit(&rows, &CalibrationOptions::default(), "made up").unwrap_err().to_string();
        assert!(error.contains("at least 19 rows"), "{error}");
    }
}
