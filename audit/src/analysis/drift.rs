//! How the rows, and groups of them, differ from the reference.

use std::collections::HashMap;

use super::divisions::OwnDivision;
use super::inputs::AnalysisInputs;
use super::rows::predictions;
use crate::collect::{Collected, Prediction};
use crate::drift::{self, DriftFigures, DriftTest, Numbers, Quantity};
use dismax::error::Result;

/// What one set of rows is compared by.
#[derive(Default)]
struct Sample {
    scores: Vec<f32>,
    confidences: Vec<f32>,
    classes: Vec<u64>,
}

impl Sample {
    fn of<'a>(predictions: impl Iterator<Item = &'a Prediction>, classes: usize) -> Self {
        let mut sample = Self { classes: vec![0; classes], ..Self::default() };
        for prediction in predictions {
            sample.scores.push(prediction.score);
            sample.confidences.push(prediction.confidence);
            sample.classes[prediction.class as usize] += 1;
        }
        sample
    }
}

/// What samples are compared with.
struct Baseline {
    sample: Sample,
    scores: Option<Numbers>,
    confidences: Option<Numbers>,
}

impl Baseline {
    fn new(sample: Sample) -> Self {
        let scores = Numbers::new(sample.scores.iter().copied());
        let confidences = Numbers::new(sample.confidences.iter().copied());
        Self { sample, scores, confidences }
    }

    /// A test of each quantity that both have. `group` is the column and the value that the sample's rows have in
    /// common.
    fn compare(&self, sample: &Sample, group: Option<(&str, &str)>) -> Result<Vec<DriftTest>> {
        let scores = self.scores.as_ref().and_then(|all| all.compare(sample.scores.iter().copied()));
        let confidences = self.confidences.as_ref().and_then(|all| all.compare(sample.confidences.iter().copied()));
        let classes = match self.sample.classes.is_empty() {
            true => None,
            false => drift::classes(&self.sample.classes, &sample.classes)?,
        };
        let differences = [(Quantity::Score, scores), (Quantity::Confidence, confidences), (Quantity::Class, classes)];
        let test = |(quantity, difference): (Quantity, Option<drift::Difference>)| {
            let difference = difference?;
            Some(DriftTest {
                by: group.map(|(by, _)| by.to_owned()),
                value: group.map(|(_, value)| value.to_owned()),
                quantity,
                rows: sample.scores.len() as u64,
                statistic: difference.statistic,
                p_value: difference.p_value,
                psi: difference.psi,
                significant: false,
            })
        };
        Ok(differences.into_iter().filter_map(test).collect())
    }
}

/// Tests of all rows and of the largest groups of each division, against the reference or else the calibration rows.
pub(super) fn drift_figures(inputs: &AnalysisInputs<'_>, divisions: &[OwnDivision]) -> Result<Option<DriftFigures>> {
    let classes = inputs.classes.len();
    let baseline = Baseline::new(match inputs.reference {
        Some(reference) => Sample::of(predictions(reference).map(|(_, _, prediction)| prediction), classes),
        // The bundle keeps the calibration rows' scores and nothing else of them.
        None => Sample {
            scores: inputs
                .calibration
                .map(|calibration| calibration.scores.all().sorted().to_vec())
                .unwrap_or_default(),
            ..Sample::default()
        },
    });
    let all = Sample::of(predictions(inputs.collected).map(|(_, _, prediction)| prediction), classes);
    let mut tests = baseline.compare(&all, None)?;
    drop(all);
    for division in divisions {
        for (code, members) in largest_groups(inputs.collected, division) {
            let sample = Sample::of(members.into_iter(), classes);
            tests.extend(baseline.compare(&sample, Some((&division.by, &division.values[code])))?);
        }
    }
    if tests.is_empty() {
        return Ok(None);
    }
    let against = if inputs.reference.is_some() { "reference" } else { "calibration" };
    let reference_rows = baseline.sample.scores.len() as u64;
    let mut figures = DriftFigures { against: against.into(), reference_rows, tests };
    figures.control(inputs.options.fdr)?;
    Ok(Some(figures))
}

/// The predictions of a division's largest groups, largest first.
fn largest_groups<'a>(collected: &'a Collected, division: &OwnDivision) -> Vec<(usize, Vec<&'a Prediction>)> {
    let mut counts = vec![0u64; division.values.len()];
    for (row, _, _) in predictions(collected) {
        counts[division.code(row)] += 1;
    }
    let large = division.largest(counts);
    let mut groups: Vec<(usize, Vec<&Prediction>)> =
        large.iter().map(|(code, rows)| (*code, Vec::with_capacity(*rows as usize))).collect();
    let position: HashMap<usize, usize> = large.iter().enumerate().map(|(at, (code, _))| (*code, at)).collect();
    for (row, _, prediction) in predictions(collected) {
        if let Some(at) = position.get(&division.code(row)) {
            groups[*at].1.push(prediction);
        }
    }
    groups
}
