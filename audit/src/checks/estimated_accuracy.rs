//! How often the model is right, by its own confidences: no label is needed.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::rows::predictions;
use super::unknown::UnknownFigures;
use crate::collect::{Prediction, Row};
use crate::need::Need;
use crate::sections::words::{interval, number, points};
use crate::sections::{MAX_ROWS, Material};
use crate::text::{count, p_value, percent};
use crate::view::{Cell, Section, Table, Tile, Tone};
use dismax::calibration::{Estimate, benjamini_hochberg};
use dismax::error::Result;
use dismax::metrics::{Interval, share_interval};

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;

/// Accuracy as confidences estimate it: their mean, as they are probabilities of being right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EstimatedAccuracyFigures {
    /// Accuracy on the rows that the model was calibrated on: what estimates are compared with.
    pub calibrated: f64,
    /// Those rows.
    pub calibration_rows: u64,
    /// All rows first, then the largest groups.
    pub estimates: Vec<AccuracyEstimate>,
    /// Share of unknown images, found or not. Confidences say nothing about them: where none of them counts as right,
    /// the accuracy over all rows is lower than estimated by up to this share. None where nothing can be said of it.
    pub unknown: Option<Estimate>,
}

/// The accuracy of some of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccuracyEstimate {
    /// What divides the rows: none for all rows, else a column.
    pub by: Option<String>,
    /// The column's value.
    pub value: Option<String>,
    /// Rows with a prediction.
    pub rows: u64,
    /// Mean confidence. Its 95 % interval is that of the share of these rows that is right, as far as confidences are
    /// calibrated; it allows for the number of calibration rows.
    pub estimated: Estimate,
    /// Rows among them with a label.
    pub labelled: u64,
    /// Share of these whose predicted class is the label, with its exact 95 % interval; none without labels.
    pub accuracy: Option<Estimate>,
    /// Of a difference at least this large from the calibration rows' accuracy where there is none beyond their
    /// calibration error (ECE): two-sided, normal approximation.
    pub p_value: f64,
    /// Whether Benjamini-Hochberg over all rows and groups calls it significant.
    pub significant: bool,
}

/// The check.
pub(super) struct EstimatedAccuracy;

const ABOUT: About = About {
    id: "estimated-accuracy",
    title: "Estimated accuracy",
    question: "How often is the model right on these rows, as far as that can be known without labels?",
    how: "The mean calibrated confidence (confidence-based performance estimation: Guillory et al. 2021, NannyML's \
          CBPE). Its 95 % interval is normal, from the variance of as many independent rows and of the calibration \
          rows. Differences from the accuracy on the calibration rows beyond their calibration error, all together \
          under Benjamini and Hochberg. The interval holds while confidences are as calibrated as on the calibration \
          rows: where images are worse than those, confidences mostly fall too little, and the estimate is too high.",
    needs: &[Need::Model],
    kinds: &[],
};

impl Check for EstimatedAccuracy {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let (calibration, collected) = (inputs.model(), inputs.collected);
        let known =
            Known { accuracy: calibration.fit.accuracy, rows: calibration.rows, ece: calibration.ece_after.value };
        let mut all = Sums::default();
        predictions(collected).for_each(|(_, row, prediction)| all.add(&row, prediction));
        if all.rows == 0 {
            return Ok(());
        }
        let mut estimates = vec![all.estimate(None, &known)?];
        for division in &inputs.divisions {
            let mut groups = vec![Sums::default(); division.values.len()];
            for (row, record, prediction) in predictions(collected) {
                groups[division.code(row)].add(&record, prediction);
            }
            for (code, _) in division.largest(groups.iter().map(|sums| sums.rows)) {
                let group = (division.by.as_str(), division.values[code].as_str());
                estimates.push(groups[code].estimate(Some(group), &known)?);
            }
        }
        let most = benjamini_hochberg(estimates.iter().map(|estimate| estimate.p_value), inputs.fdr)?;
        for estimate in &mut estimates {
            estimate.significant = most.is_some_and(|most| estimate.p_value <= most);
        }
        let unknown = found.figures.get::<UnknownFigures>().and_then(|figures| figures.out_of_distribution);
        found.figures.insert(EstimatedAccuracyFigures {
            calibrated: known.accuracy,
            calibration_rows: known.rows,
            estimates,
            unknown,
        });
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<EstimatedAccuracyFigures>() else { return Ok(None) };
        let Some(all) = figures.estimates.first() else { return Ok(None) };
        let mut section = ABOUT.section(tone(figures), summary(figures, all));
        section.tables.push(table(figures));
        Ok(Some(section))
    }

    /// Beside labels the estimate is of little use.
    fn tiles(&self, material: &Material<'_>) -> Vec<Tile> {
        let figures = material.figures().get::<EstimatedAccuracyFigures>();
        let tile = |figures: &EstimatedAccuracyFigures| {
            let all = figures.estimates.first().filter(|all| all.accuracy.is_none())?;
            let note = format!("95 %: {}", interval(&all.estimated));
            Some(Tile::new(ABOUT.title, percent(all.estimated.value), note, tone(figures)))
        };
        figures.and_then(tile).into_iter().collect()
    }
}

/// What is known of the rows that the model was calibrated on.
#[derive(Debug, Clone, Copy)]
struct Known {
    accuracy: f64,
    rows: u64,
    ece: f64,
}

/// Sums over some of the rows.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rows: u64,
    confidence: f64,
    squares: f64,
    labelled: u64,
    right: u64,
}

impl Sums {
    fn add(&mut self, row: &Row<'_>, prediction: &Prediction) {
        self.push(prediction.confidence, row.label.map(|label| label == prediction.class));
    }

    /// Adds a row; whether it is right is known where it has a label.
    fn push(&mut self, confidence: f32, is_right: Option<bool>) {
        let confidence = f64::from(confidence);
        self.rows += 1;
        self.confidence += confidence;
        self.squares += confidence * confidence;
        self.labelled += u64::from(is_right.is_some());
        self.right += u64::from(is_right == Some(true));
    }

    /// There must be a row.
    fn estimate(&self, group: Option<(&str, &str)>, known: &Known) -> Result<AccuracyEstimate> {
        let rows = self.rows as f64;
        let mean = (self.confidence / rows).clamp(0.0, 1.0);
        let mean_square = self.squares / rows;
        // How far the calibration rows' accuracy, and with it the level of confidences, is off by chance. Half a row
        // is added on both sides, as no model is always right (Agresti and Coull 1998).
        let of = known.rows as f64;
        let right = (known.accuracy * of + 0.5) / (of + 1.0);
        let of_calibration = right * (1.0 - right) / (of + 1.0);
        // Each row is right with the chance c: the variance of their sum is that of c (1 - c).
        let of_rows = (mean - mean_square).max(0.0) / rows;
        let normal = Normal::standard();
        let width = normal.inverse_cdf(0.5 + LEVEL / 2.0) * (of_rows + of_calibration).sqrt();
        // The mean of confidences varies with the confidences alone. A model whose confidences are off by so much on
        // the calibration rows has not become worse.
        let of_mean = (mean_square - mean * mean).max(0.0) / rows;
        let beyond = ((mean - known.accuracy).abs() - known.ece).max(0.0);
        let p_value = (2.0 * normal.sf(beyond / (of_mean + of_calibration).sqrt())).clamp(0.0, 1.0);
        let accuracy = match self.labelled {
            0 => None,
            labelled => Some(Estimate {
                value: self.right as f64 / labelled as f64,
                interval: share_interval(self.right, labelled, LEVEL)?,
            }),
        };
        Ok(AccuracyEstimate {
            by: group.map(|(by, _)| by.to_owned()),
            value: group.map(|(_, value)| value.to_owned()),
            rows: self.rows,
            estimated: Estimate {
                value: mean,
                interval: Interval { lower: (mean - width).max(0.0), upper: (mean + width).min(1.0), level: LEVEL },
            },
            labelled: self.labelled,
            accuracy,
            p_value,
            significant: false,
        })
    }
}

impl EstimatedAccuracyFigures {
    /// Whether a group's estimate is significantly below the accuracy on the calibration rows.
    fn is_low(&self, estimate: &AccuracyEstimate) -> bool {
        estimate.significant && estimate.estimated.value < self.calibrated
    }
}

fn tone(figures: &EstimatedAccuracyFigures) -> Tone {
    if figures.estimates.iter().any(|estimate| figures.is_low(estimate)) { Tone::Warn } else { Tone::Good }
}

fn summary(figures: &EstimatedAccuracyFigures, all: &AccuracyEstimate) -> String {
    let low = figures.estimates.iter().filter(|estimate| estimate.by.is_some() && figures.is_low(estimate)).count();
    let low = match (figures.is_low(all), low as u64) {
        (false, 0) => String::new(),
        (true, 0) => ", clearly more than here".to_owned(),
        (false, groups) => format!(", clearly more than in {} of the groups", count(groups)),
        (true, groups) => format!(", clearly more than here and in {} of the groups", count(groups)),
    };
    let mut text = format!(
        "By its confidences the model is right on {} of the rows ({}); on the rows that it was calibrated on it was \
         right on {}{low}.",
        percent(all.estimated.value),
        interval(&all.estimated),
        percent(figures.calibrated)
    );
    if let Some(accuracy) = &all.accuracy {
        text.push_str(&format!(
            " By the labels of {} of them it is right on {} ({}).",
            count(all.labelled),
            percent(accuracy.value),
            interval(accuracy)
        ));
    }
    if let Some(share) = figures.unknown.filter(|share| share.interval.upper > 0.0) {
        text.push_str(&format!(
            " About {} of the rows ({}) are of unknown kinds, of which confidences say nothing: where none of these \
             counts as right, the accuracy over all rows is lower by up to {} points.",
            percent(share.value),
            interval(&share),
            points(share.interval.upper).trim_start_matches('+')
        ));
    }
    text
}

fn table(figures: &EstimatedAccuracyFigures) -> Table {
    let columns = [
        ("Divided by", false),
        ("Value", false),
        ("Rows", true),
        ("Estimated", true),
        ("95 % interval", false),
        ("By labels", true),
        ("95 % interval of it", false),
        ("p-value", true),
        ("Verdict", false),
    ];
    let mut table = Table::new("All rows and groups", &columns);
    table.rows.extend(figures.estimates.iter().take(MAX_ROWS).map(|estimate| {
        let accuracy = estimate.accuracy.as_ref();
        let verdict = match estimate.significant {
            true if figures.is_low(estimate) => "lower than when calibrated",
            true => "higher than when calibrated",
            false => "",
        };
        vec![
            Cell::text(estimate.by.as_deref().unwrap_or("all rows")),
            Cell::text(estimate.value.as_deref().unwrap_or_default()),
            number(estimate.rows),
            Cell::number(percent(estimate.estimated.value), estimate.estimated.value),
            Cell::text(&interval(&estimate.estimated)),
            accuracy.map_or_else(|| Cell::text(""), |share| Cell::number(percent(share.value), share.value)),
            Cell::text(&accuracy.map(interval).unwrap_or_default()),
            Cell::number(p_value(estimate.p_value), estimate.p_value),
            Cell::text(verdict),
        ]
    }));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = Known { accuracy: 0.8, rows: 10_000, ece: 0.01 };

    fn sums(rows: impl Iterator<Item = (f32, Option<bool>)>) -> Sums {
        let mut sums = Sums::default();
        rows.for_each(|(confidence, is_right)| sums.push(confidence, is_right));
        sums
    }

    #[test]
    fn an_estimate_by_hand() {
        // Half of 1,000 rows at 0.9 and half at 0.7: mean 0.8, mean of c (1 - c) = 0.15.
        let all = sums((0..1000).map(|row| ([0.9, 0.7][row % 2], None)));
        let estimate = all.estimate(None, &KNOWN).expect("rows");
        assert!((estimate.estimated.value - 0.8).abs() < 1e-6, "{estimate:?}");
        let width = 1.96 * (0.15f64 / 1000.0 + 0.16 / 10_000.0).sqrt();
        assert!((estimate.estimated.interval.upper - 0.8 - width).abs() < 1e-4, "{estimate:?}");
        assert_eq!((estimate.accuracy, estimate.labelled, estimate.significant), (None, 0, false));
        assert!(estimate.p_value > 0.99, "{estimate:?}");
    }

    #[test]
    fn the_true_accuracy_lies_in_the_interval_and_a_harder_group_is_told() {
        // Each tenth of the rows has another confidence, and is as often right as it says.
        let rows = (0..2000).map(|row| (0.5 + 0.04 * (row % 10) as f32, row / 10 % 25 * 4 < 50 + 4 * (row % 10)));
        let hard = sums(rows.map(|(confidence, is_right)| (confidence, Some(is_right))));
        let estimate = hard.estimate(Some(("camera", "b")), &KNOWN).expect("rows");
        let (interval, accuracy) = (estimate.estimated.interval, estimate.accuracy.expect("labels").value);
        assert!(interval.lower < accuracy && accuracy < interval.upper, "{estimate:?}");
        assert!(estimate.p_value < 1e-6, "0.68 is less than 0.8: {estimate:?}");
        // What the calibration error explains is no difference.
        let near = sums((0..100_000).map(|_| (0.795, None))).estimate(None, &KNOWN).expect("rows");
        assert_eq!(near.p_value, 1.0);
        let certain = Known { accuracy: 1.0, rows: 100, ece: 0.0 };
        let near = sums((0..100).map(|_| (0.999, None))).estimate(None, &certain).expect("rows");
        assert!(near.p_value > 0.05, "100 right rows do not say 100 %: {near:?}");
    }
}
