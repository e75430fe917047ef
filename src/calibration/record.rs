//! Everything that calibration finds out about a model: what `calibration.json` holds.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::conformal::check_share;
use super::mondrian::minimum_rows;
use super::{
    ConformalScores, FeatureScore, MondrianScores, PredictionSets, TemperatureFit, TemperatureSearch, Verdict,
    fit_temperature,
};
use crate::error::{Error, Result, RowError, RowErrorCode};
use crate::metrics::{
    ClassificationMetrics, DEFAULT_BINS, Interval, LabelledLogits, Reliability, ece_interval, share_interval,
};
use crate::score::{self, RowOutput, RowScores, Score};
use crate::tta::Tta;

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
    /// What the rows' logits are averages of.
    pub tta: Tta,
}

impl Default for CalibrationOptions {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            score: Score::default(),
            per_class: false,
            search: TemperatureSearch::default(),
            seed: 0,
            tta: Tta::None,
        }
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
/// Temperature and thresholds are fitted on all calibration rows. The figures about them come from rows that had no
/// say: each half of the rows is judged with the temperature that the other half gives, and the thresholds of one half
/// are counted on the other.
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
    /// Whether both halves gave a temperature. Where one has too few rows, the temperature of all rows stands in, and
    /// `ece_after` is that of rows that had a say.
    pub cross_fitted: bool,
    /// The in-distribution score that the thresholds belong to. It is taken at temperature 1.
    pub score: Score,
    /// What logits and features are averages of: those of the calibration rows, and those of every row that is scored.
    #[serde(default, skip_serializing_if = "Tta::is_none")]
    pub tta: Tta,
    /// Share of in-distribution rows that may be flagged.
    pub alpha: f64,
    /// Share of one half of the rows that is flagged by the thresholds of the other half, with its exact interval; none
    /// where half of the rows are too few for thresholds. The halves do not change roles: the two shares would nearly
    /// always add up to twice `alpha`, whatever the thresholds are worth.
    pub false_alarm_rate: Option<Estimate>,
    /// Rows calibrated on.
    pub rows: u64,
    /// Where they come from, in words.
    pub source: String,
    /// Scores of the calibration rows.
    pub scores: CalibrationScores,
    /// What prediction sets are made from, at the temperature of all rows; none where an earlier release calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction_sets: Option<PredictionSets>,
    /// Gives the score, where it needs features.
    #[serde(skip)]
    pub(crate) feature_score: Option<FeatureScore>,
}

/// A calibration and how good the probabilities are that it gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// What a model keeps.
    pub calibration: Calibration,
    /// Figures of the calibration rows, each at the temperature that the half without it gives.
    pub figures: ClassificationMetrics,
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

    /// Checks that rows of every predicted class can be flagged at `alpha`.
    ///
    /// # Errors
    /// As [`ConformalScores::check_alpha`], for all rows or for the class with the fewest.
    pub fn check_alpha(&self, alpha: f64) -> Result<()> {
        match self {
            Self::AllRows(scores) => scores.check_alpha(alpha),
            Self::PerClass(scores) => scores.check_alpha(alpha),
        }
    }

    /// Thresholds of `rows`; a class gets its own from `minimum` rows on.
    fn of(rows: &CalibrationRows, options: &CalibrationOptions, classes: usize, minimum: usize) -> Result<Self> {
        Ok(match options.per_class {
            true => Self::PerClass(MondrianScores::try_new(&rows.scores, &rows.predicted, classes, minimum)?),
            false => Self::AllRows(ConformalScores::try_new(rows.scores.clone())?),
        })
    }
}

impl Calibration {
    /// Calibrates on held-out rows; `source` says in words where they come from. `given` is what gives a score that
    /// needs features, and its value for each row.
    ///
    /// # Errors
    /// Too few rows for `alpha`, an `alpha` outside (0, 1), a temperature at the end of its range, a score that needs
    /// features, where it is not given.
    pub fn fit(
        rows: &LabelledLogits,
        given: Option<(&FeatureScore, &[f32])>,
        options: &CalibrationOptions,
        source: &str,
    ) -> Result<Calibrated> {
        let given = given.filter(|_| options.score.needs_features());
        let judged = CalibrationRows::of(rows, options.score, given.map(|(_, scores)| scores))?;
        check_share(options.alpha)?;
        let scores = CalibrationScores::of(&judged, options, rows.classes(), minimum_rows(options.alpha))?;
        scores.all().check_alpha(options.alpha)?;
        let fit = fit_temperature(rows, &options.search)?;

        let mut scaled = rows.logits().to_vec();
        let mut cross_fitted = true;
        let halves = halves(rows.rows(), options.seed);
        for (here, there) in [(&halves[0], &halves[1]), (&halves[1], &halves[0])] {
            let (logits, labels) = select(rows, there);
            let other = LabelledLogits::try_new(&logits, rows.classes(), &labels)?;
            let temperature = match fit_temperature(&other, &options.search) {
                Ok(fit) => fit.temperature,
                // Half of the rows may be too few for a fit that is fine on all; the fit on all then stands in.
                Err(_) => {
                    cross_fitted = false;
                    fit.temperature
                }
            };
            for &row in here {
                let logits = &mut scaled[row * rows.classes()..(row + 1) * rows.classes()];
                logits.iter_mut().for_each(|logit| *logit /= temperature);
            }
        }
        let labels: Vec<i64> = rows.iter().map(|(_, label)| label as i64).collect();
        let scaled = LabelledLogits::try_new(&scaled, rows.classes(), &labels)?;
        let ece = |rows: &LabelledLogits| -> Result<Estimate> {
            let (confidences, correct) = (rows.confidences(1.0), rows.correct());
            Ok(Estimate {
                value: Reliability::equal_width(&confidences, &correct, DEFAULT_BINS)?.ece(),
                interval: ece_interval(&confidences, &correct, DEFAULT_BINS, RESAMPLES, LEVEL, options.seed)?,
            })
        };
        let figures =
            ClassificationMetrics { temperature: fit.temperature, ..ClassificationMetrics::of(&scaled, 1.0)? };
        let calibration = Self {
            temperature: fit.temperature,
            fit,
            ece_before: ece(rows)?,
            ece_after: ece(&scaled)?,
            cross_fitted,
            score: options.score,
            tta: options.tta,
            alpha: options.alpha,
            false_alarm_rate: judged.false_alarm_rate(&halves, options, rows.classes())?,
            rows: rows.rows() as u64,
            source: source.to_owned(),
            scores,
            prediction_sets: Some(prediction_sets(rows, fit.temperature, &halves, options)?),
            feature_score: given.map(|(score, _)| score.clone()),
        };
        Ok(Calibrated { calibration, figures })
    }

    /// Checks what a file may hold.
    ///
    /// # Errors
    /// [`Error::Config`] for a temperature or an alpha that none can be, prediction sets without rows.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(Error::Config(format!("the temperature {} is not above 0", self.temperature)));
        }
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err(Error::Config(format!("alpha {} is not between 0 and 1", self.alpha)));
        }
        self.prediction_sets.as_ref().map_or(Ok(()), PredictionSets::validate)
    }

    /// Applies the calibration to what the network gave for one row: writes its calibrated `probabilities [C]` and
    /// returns its scores with p-value and flag. This is the one place where calibration meets logits.
    ///
    /// # Errors
    /// `non_finite_score` for logits whose scores are not finite.
    pub fn apply(&self, output: RowOutput<'_>, probabilities: &mut [f32]) -> Result<(RowScores, Verdict), RowError> {
        let mut scores = score::row(output.logits, self.temperature, self.score, probabilities);
        if let Some(score) = &self.feature_score {
            scores.score = score.of(output);
        }
        if !scores.is_finite() {
            let detail = "the network returned a value that is not finite";
            return Err(RowError::new(RowErrorCode::NonFiniteScore, detail));
        }
        let verdict = self.scores.verdict(scores.class, scores.score, self.alpha)?;
        Ok((scores, verdict))
    }
}

/// Scores and predicted classes of the rows.
struct CalibrationRows {
    scores: Vec<f32>,
    predicted: Vec<usize>,
}

impl CalibrationRows {
    /// `given` are the rows' scores, where these do not come from the logits.
    fn of(rows: &LabelledLogits, score: Score, given: Option<&[f32]>) -> Result<Self> {
        let mut probabilities = vec![0.0; rows.classes()];
        let judged = rows.iter().map(|(logits, _)| {
            let row = crate::score::row(logits, 1.0, score, &mut probabilities);
            (row.score, row.class)
        });
        let (mut scores, predicted): (Vec<f32>, Vec<usize>) = judged.unzip();
        match given {
            Some(given) if given.len() == scores.len() => scores.copy_from_slice(given),
            None if !score.needs_features() => {}
            _ => {
                let message = format!("the score {score} needs features, and its value for each row was not given");
                return Err(Error::Config(message));
            }
        }
        Ok(Self { scores, predicted })
    }

    fn select(&self, rows: &[usize]) -> Self {
        let (scores, predicted) = rows.iter().map(|&row| (self.scores[row], self.predicted[row])).unzip();
        Self { scores, predicted }
    }

    /// Share of the second half that the thresholds of the first flag.
    fn false_alarm_rate(
        &self,
        halves: &[Vec<usize>; 2],
        options: &CalibrationOptions,
        classes: usize,
    ) -> Result<Option<Estimate>> {
        // Half of the rows, so half of the minimum: nearly the same classes have thresholds of their own.
        let minimum = minimum_rows(options.alpha).div_ceil(2);
        let thresholds = CalibrationScores::of(&self.select(&halves[0]), options, classes, minimum)?;
        if thresholds.check_alpha(options.alpha).is_err() {
            return Ok(None);
        }
        let mut flagged = 0;
        for &row in &halves[1] {
            let verdict = thresholds.verdict(self.predicted[row], self.scores[row], options.alpha);
            // Finite logits give finite scores, so a verdict exists.
            flagged += u64::from(verdict.is_ok_and(|verdict| verdict.is_ood));
        }
        let rows = halves[1].len() as u64;
        let interval = share_interval(flagged, rows, LEVEL)?;
        Ok(Some(Estimate { value: flagged as f64 / rows as f64, interval }))
    }
}

/// Two random halves of the rows; one of a single row is empty, so both then hold it.
fn halves(rows: usize, seed: u64) -> [Vec<usize>; 2] {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let second = order.split_off(rows / 2);
    if order.is_empty() { [second.clone(), second] } else { [order, second] }
}

/// What prediction sets are made from. One temperature for all rows, because that is the one of the rows to come.
fn prediction_sets(
    rows: &LabelledLogits,
    temperature: f32,
    halves: &[Vec<usize>; 2],
    options: &CalibrationOptions,
) -> Result<PredictionSets> {
    let (classes, mut probabilities) = (rows.classes(), vec![0.0; rows.logits().len()]);
    let mut labels = Vec::with_capacity(rows.rows());
    for ((logits, label), out) in rows.iter().zip(probabilities.chunks_exact_mut(classes)) {
        score::row(logits, temperature, options.score, out);
        labels.push(label);
    }
    PredictionSets::fit(&probabilities, &labels, classes, halves, options.alpha)
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
    use crate::calibration::Objective;
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
        let Calibrated { calibration, figures } =
            Calibration::fit(&rows, None, &CalibrationOptions::default(), "made up").unwrap();
        assert!((figures.ece - calibration.ece_after.value).abs() < 1e-9);
        assert!(calibration.temperature > 1.2, "{}", calibration.temperature);
        assert!(calibration.ece_after.value < calibration.ece_before.value, "{calibration:?}");
        assert!(calibration.ece_after.value >= calibration.fit.ece_after - 1e-9, "no row may judge itself");
        let rate = calibration.false_alarm_rate.unwrap();
        assert!(rate.interval.lower <= 0.05 && rate.interval.upper >= 0.05, "{rate:?}");
        let sets = calibration.prediction_sets.as_ref().unwrap();
        let held_out = sets.held_out.as_ref().unwrap();
        assert!(held_out.interval.lower <= 0.95 && held_out.interval.upper >= 0.95, "{held_out:?}");
        assert!((900..1100).contains(&sets.rows(0)) && held_out.worst_class > 0.9, "{held_out:?}");
        for ece in [calibration.ece_before, calibration.ece_after] {
            assert!(ece.interval.lower <= ece.value && ece.value <= ece.interval.upper, "{ece:?}");
        }
        let search = TemperatureSearch { objective: Objective::Nll, ..TemperatureSearch::default() };
        let options = CalibrationOptions { search, ..CalibrationOptions::default() };
        let Calibrated { calibration, figures } = Calibration::fit(&rows, None, &options, "made up").unwrap();
        assert!(calibration.cross_fitted);
        assert!(figures.nll > calibration.fit.nll_after, "no row may judge itself");
    }

    /// Over many draws the estimate must vary as a share of so many rows does, not stick to alpha.
    #[test]
    fn the_false_alarm_rate_is_measured() {
        let rates: Vec<f64> = (0..200)
            .map(|seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let scores: Vec<f32> = (0..400).map(|_| rng.random()).collect();
                let judged = CalibrationRows { predicted: vec![0; scores.len()], scores };
                let options = CalibrationOptions { alpha: 0.1, ..CalibrationOptions::default() };
                judged.false_alarm_rate(&halves(400, seed), &options, 1).unwrap().unwrap().value
            })
            .collect();
        let mean = rates.iter().sum::<f64>() / 200.0;
        let deviation = (rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        assert!((mean - 0.1).abs() < 0.01, "{mean}");
        // 200 rows by a threshold of 200 rows: sqrt(2 * 0.1 * 0.9 / 200) = 0.03.
        assert!((0.02..0.04).contains(&deviation), "{deviation}");
    }

    #[test]
    fn a_rate_of_too_few_rows_is_not_given() {
        let (logits, labels) = rows(30, 1.0);
        let rows = LabelledLogits::try_new(&logits, 4, &labels).unwrap();
        let calibration = Calibration::fit(&rows, None, &CalibrationOptions::default(), "made up").unwrap().calibration;
        assert_eq!(calibration.false_alarm_rate, None);
    }

    #[test]
    fn thresholds_per_class_and_the_json_survive() {
        let (logits, labels) = rows(2000, 1.0);
        let rows = LabelledLogits::try_new(&logits, 4, &labels).unwrap();
        let options = CalibrationOptions { per_class: true, score: Score::Mps, ..CalibrationOptions::default() };
        let calibration = Calibration::fit(&rows, None, &options, "made up").unwrap().calibration;
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
        let error = Calibration::fit(&rows, None, &CalibrationOptions::default(), "made up").unwrap_err().to_string();
        assert!(error.contains("at least 19 rows"), "{error}");
    }
}
