//! Calibration on the audited rows: whether confidences are as often right as they say.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use dismax::calibration::{Estimate, benjamini_hochberg};
use dismax::error::{Error, Result};
use dismax::metrics::{DEFAULT_BINS, Interval, Reliability, ece_interval, share_interval};

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;
/// Resamples of the bootstrap, and draws in all of them together at most: a million rows are resampled a hundred times.
const RESAMPLES: usize = 1000;
const MAX_DRAWS: usize = 100_000_000;
const MIN_RESAMPLES: usize = 100;
/// Seed of the bootstrap: the same rows give the same interval.
const SEED: u64 = 0;

/// How well calibrated the model is on the audited rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationFigures {
    /// Rows with a label and a prediction.
    pub rows: u64,
    /// Those whose predicted class is the label.
    pub correct: u64,
    /// ECE (15 bins of equal width) with its 95 % bootstrap interval.
    pub ece: Estimate,
    /// Mean negative log-likelihood of the labels in nats.
    pub nll: f64,
    /// The reliability diagram in numbers.
    pub reliability: Reliability,
    /// By predicted class and by group, in this order.
    pub groups: Vec<ConfidenceGap>,
}

/// Mean confidence against accuracy in some of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceGap {
    /// What divides the rows: `class` (the predicted one), or the name of a column.
    pub by: String,
    /// The class or the column's value.
    pub value: String,
    /// Rows.
    pub rows: u64,
    /// Share of them predicted right.
    pub accuracy: f64,
    /// Mean confidence of their predictions.
    pub confidence: f64,
    /// Confidence minus accuracy: above 0 the model is too sure. The interval is that of the accuracy (exact, 95 %).
    pub gap: Estimate,
    /// Of a gap at least this large where the model is right as often as it says: a two-sided binomial test at the mean
    /// confidence, which is cautious where confidences differ. Rows count as independent, also those with the same
    /// image.
    pub p_value: f64,
    /// Whether the gap is significant at the false discovery rate that was asked for, by Benjamini and Hochberg over
    /// all classes and groups. These share rows, so that the rate is approximate.
    pub significant: bool,
}

/// A labelled row: confidence, whether it is right, probability of the label.
#[derive(Debug, Clone, Copy)]
pub(super) struct LabelledConfidence {
    pub confidence: f32,
    pub correct: bool,
    pub label_probability: f32,
}

/// Figures of all rows, and which of the gaps are significant at the false discovery rate `fdr`. None without rows.
pub(super) fn figures(
    rows: &[LabelledConfidence],
    mut groups: Vec<ConfidenceGap>,
    fdr: f64,
) -> Result<Option<CalibrationFigures>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let most = benjamini_hochberg(groups.iter().map(|group| group.p_value), fdr)?;
    for group in &mut groups {
        group.significant = most.is_some_and(|most| group.p_value <= most);
    }
    let confidences: Vec<f32> = rows.iter().map(|row| row.confidence).collect();
    let correct: Vec<bool> = rows.iter().map(|row| row.correct).collect();
    let reliability = Reliability::equal_width(&confidences, &correct, DEFAULT_BINS)?;
    let resamples = (MAX_DRAWS / rows.len()).clamp(MIN_RESAMPLES, RESAMPLES);
    // A probability that underflowed counts as the smallest there is.
    let nll = |row: &LabelledConfidence| -f64::from(row.label_probability.max(f32::MIN_POSITIVE)).ln();
    Ok(Some(CalibrationFigures {
        rows: rows.len() as u64,
        correct: correct.iter().filter(|correct| **correct).count() as u64,
        ece: Estimate {
            value: reliability.ece(),
            interval: ece_interval(&confidences, &correct, DEFAULT_BINS, resamples, LEVEL, SEED)?,
        },
        nll: rows.iter().map(nll).sum::<f64>() / rows.len() as f64,
        reliability,
        groups,
    }))
}

/// Sums over a group's rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GapSums {
    rows: u64,
    right: u64,
    confidence: f64,
}

impl GapSums {
    pub fn add(&mut self, row: &LabelledConfidence) {
        self.rows += 1;
        self.right += u64::from(row.correct);
        self.confidence += f64::from(row.confidence);
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The gap of a group; there must be a row.
    ///
    /// # Errors
    /// No rows.
    pub fn gap(&self, by: &str, value: &str) -> Result<ConfidenceGap> {
        let accuracy = share_interval(self.right, self.rows, LEVEL)?;
        let rows = self.rows as f64;
        let confidence = self.confidence / rows;
        Ok(ConfidenceGap {
            by: by.to_owned(),
            value: value.to_owned(),
            rows: self.rows,
            accuracy: self.right as f64 / rows,
            confidence,
            gap: Estimate {
                value: confidence - self.right as f64 / rows,
                interval: Interval {
                    lower: confidence - accuracy.upper,
                    upper: confidence - accuracy.lower,
                    level: LEVEL,
                },
            },
            p_value: binomial_test(self.right, self.rows, confidence)?,
            significant: false,
        })
    }
}

/// Two-sided p-value of `successes` among `trials` where each has the chance `chance`: twice the smaller tail, so that
/// it is below 0.05 where the exact 95 % interval leaves `chance` out.
fn binomial_test(successes: u64, trials: u64, chance: f64) -> Result<f64> {
    // A sum of f32 may say a little more than 1.
    let binomial = Binomial::new(chance.clamp(0.0, 1.0), trials)
        .map_err(|error| Error::Internal(format!("{successes} of {trials} at a chance of {chance}: {error}")))?;
    let at_most = binomial.cdf(successes);
    let at_least = successes.checked_sub(1).map_or(1.0, |below| binomial.sf(below));
    Ok((2.0 * at_most.min(at_least)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(confidence: f32, correct: bool) -> LabelledConfidence {
        LabelledConfidence {
            confidence,
            correct,
            label_probability: if correct { confidence } else { 1.0 - confidence },
        }
    }

    #[test]
    fn figures_by_hand() {
        // 0.9 and right in 7 of 10.
        let rows: Vec<LabelledConfidence> = (0..100).map(|row| judged(0.9, row % 10 < 7)).collect();
        let mut sums = GapSums::default();
        rows.iter().for_each(|row| sums.add(row));
        let gap = sums.gap("class", "cat").expect("rows");
        assert!((gap.gap.value - 0.2).abs() < 1e-6, "{gap:?}");
        // pbinom(70, 100, 0.9) is 2.5e-8 or so.
        assert!(gap.p_value > 1e-9 && gap.p_value < 1e-6, "{gap:?}");
        assert!(
            (gap.gap.interval.lower - (0.9 - 0.7875)).abs() < 1e-3,
            "R: binom.test(70, 100) ends at 0.7875; {gap:?}"
        );
        let figures = figures(&rows, vec![gap], 0.05).expect("confidences").expect("rows");
        assert!(figures.groups[0].significant);
        assert_eq!((figures.rows, figures.correct), (100, 70));
        assert!((figures.ece.value - 0.2).abs() < 1e-6);
        let nll = -(70.0 * 0.9f64.ln() + 30.0 * 0.1f64.ln()) / 100.0;
        assert!((figures.nll - nll).abs() < 1e-5, "{} instead of {nll}", figures.nll);
    }

    #[test]
    fn a_small_group_says_nothing_clear() {
        let mut sums = GapSums::default();
        sums.add(&judged(0.9, false));
        let gap = sums.gap("camera", "b").expect("a row");
        assert!((gap.p_value - 0.2).abs() < 1e-6, "{gap:?}");
        assert!(GapSums::default().gap("camera", "c").is_err());
        assert_eq!(figures(&[], Vec::new(), 0.05).expect("nothing"), None);
        let impossible = figures(
            &[LabelledConfidence { confidence: 1.0, correct: false, label_probability: 0.0 }],
            Vec::new(),
            0.05,
        );
        assert!(impossible.expect("figures").expect("a row").nll.is_finite());
    }

    #[test]
    fn p_values_agree_with_the_exact_interval() {
        for (right, rows) in [(0, 1), (1, 1), (3, 10), (70, 100), (0, 40), (40, 40), (4999, 5000)] {
            let interval = share_interval(right, rows, LEVEL).expect("an interval");
            for chance in [0.0, 0.001, 0.2, 0.3, 0.5, 0.7, 0.9, 0.999, 1.0] {
                let p_value = binomial_test(right, rows, chance).expect("a p-value");
                let outside = chance < interval.lower || chance > interval.upper;
                assert_eq!(p_value < 0.05, outside, "{right} of {rows} at {chance}: {p_value}, {interval:?}");
            }
        }
    }

    #[test]
    fn of_many_groups_few_are_significant_by_chance() {
        // A hundred groups, of which one is clear and three would be at 0.05 each.
        let sums = |right| GapSums { rows: 100, right, confidence: 80.0 };
        let rights = [40].into_iter().chain([71; 3]).chain([80; 96]);
        let groups = rights.map(|right| sums(right).gap("class", "x").expect("rows")).collect();
        let figures = figures(&[judged(0.8, true)], groups, 0.05).expect("figures").expect("a row");
        assert!(figures.groups[1].p_value < 0.05);
        let significant: Vec<bool> = figures.groups.iter().map(|group| group.significant).collect();
        assert!(significant[0] && !significant[1..].iter().any(|significant| *significant));
    }
}
