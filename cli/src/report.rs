//! What several commands say about a calibrated model.

use dismax::calibration::{Calibration, CalibrationScores, Estimate};
use dismax::model::Model;
use dismax::score::Score;
use dismax::tta::Tta;
use serde::Serialize;

use crate::args::listing;
use crate::text;

/// Figures of a calibration, without the thousands of scores that thresholds come from.
#[derive(Debug, Serialize)]
pub struct CalibrationReport {
    /// Rows calibrated on.
    pub rows: u64,
    /// Where they come from.
    pub source: String,
    /// Share of these rows classified correctly.
    pub accuracy: f64,
    /// Divides logits.
    pub temperature: f32,
    /// Nats, on the rows fitted on.
    pub nll_before: f64,
    /// The same at the temperature.
    pub nll_after: f64,
    /// ECE at temperature 1.
    pub ece_before: Estimate,
    /// ECE after, cross-fitted.
    pub ece_after: Estimate,
    /// In-distribution score of the thresholds.
    pub score: Score,
    /// What every score is the average of.
    pub tta: Tta,
    /// Share of in-distribution rows that may be flagged.
    pub alpha: f64,
    /// Share of one half that the thresholds of the other flag; none where the rows are too few.
    pub false_alarm_rate: Option<Estimate>,
    /// Whether classes have thresholds of their own.
    pub per_class: bool,
    /// Classes that had too few rows for that.
    pub fallback_classes: Vec<String>,
}

impl CalibrationReport {
    /// The figures of a model, if it is calibrated.
    pub fn of(model: &Model) -> Option<Self> {
        let calibration: &Calibration = model.calibration()?;
        let fallback = match &calibration.scores {
            CalibrationScores::AllRows(_) => Vec::new(),
            CalibrationScores::PerClass(scores) => scores.fallback_classes(),
        };
        Some(Self {
            rows: calibration.rows,
            source: calibration.source.clone(),
            accuracy: calibration.fit.accuracy,
            temperature: calibration.temperature,
            nll_before: calibration.fit.nll_before,
            nll_after: calibration.fit.nll_after,
            ece_before: calibration.ece_before,
            ece_after: calibration.ece_after,
            score: calibration.score,
            tta: calibration.tta,
            alpha: calibration.alpha,
            false_alarm_rate: calibration.false_alarm_rate,
            per_class: matches!(calibration.scores, CalibrationScores::PerClass(_)),
            fallback_classes: fallback.into_iter().filter_map(|class| model.classes().get(class).cloned()).collect(),
        })
    }

    /// Reasons not to rely on the calibration.
    pub fn warnings(&self) -> Vec<String> {
        let rows = text::rows(self.rows);
        let mut warnings = Vec::new();
        if self.ece_after.value > self.ece_before.value {
            warnings.push(format!(
                "on held-out rows calibration got worse (ECE {:.4} before, {:.4} after); calibrate on more than {rows}, or with \
                 --objective nll, which needs fewer",
                self.ece_before.value, self.ece_after.value
            ));
        }
        if let Some(rate) = self.false_alarm_rate.filter(|rate| rate.interval.lower > self.alpha) {
            warnings.push(format!(
                "more rows are flagged than alpha allows ({} instead of {}); calibrate on more than {rows}",
                text::percent(rate.value),
                text::percent(self.alpha)
            ));
        }
        warnings
    }

    /// Names and values to print.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            (
                "held out",
                format!("{} of {}", text::percent(self.accuracy), text::rows(self.rows)) + " classified correctly",
            ),
            ("temperature", format!("{:.4}", self.temperature)),
            (
                "ECE",
                format!(
                    "{:.4} before, {} after calibration",
                    self.ece_before.value,
                    estimate(&self.ece_after, |ece| format!("{ece:.4}"))
                ),
            ),
            (
                "false alarms",
                format!(
                    "{} flagged, {} allowed (score {})",
                    match &self.false_alarm_rate {
                        Some(rate) => estimate(rate, text::percent),
                        None => "too few rows to measure how many are".into(),
                    },
                    text::percent(self.alpha),
                    self.score
                ),
            ),
        ];
        if !self.tta.is_none() {
            lines.push(("averages", "of each image and its mirror image".into()));
        }
        if self.per_class {
            let fallback = match self.fallback_classes.is_empty() {
                true => String::new(),
                false => {
                    format!("; one for all of these, which have too few rows: {}", listing(&self.fallback_classes, 10))
                }
            };
            lines.push(("thresholds", format!("one per predicted class{fallback}")));
        }
        lines
    }
}

/// How many examples of unknown images a model keeps, where it keeps any.
pub fn unknown_line(model: &Model) -> Option<(&'static str, String)> {
    let examples = Some(model.unknown_examples()).filter(|examples| *examples > 0)?;
    let plural = if examples == 1 { "" } else { "s" };
    Some(("unknown", format!("{} example{plural} of unknown images kept", text::count(examples))))
}

/// A value with its 95 % interval.
pub fn estimate(estimate: &Estimate, print: impl Fn(f64) -> String) -> String {
    let Estimate { value, interval } = estimate;
    format!("{} (95 %: {} to {})", print(*value), print(interval.lower), print(interval.upper))
}
