//! What is compared with what: all rows and groups of them with the reference, quantity by quantity.

use std::collections::HashMap;

use super::figures::{DriftFigures, DriftTest, Quantity};
use super::two_samples::{self, Difference, Numbers};
use crate::checks::divisions::Division;
use crate::checks::inputs::Inputs;
use crate::checks::properties::Property;
use crate::collect::{Collected, Row};
use dismax::error::Result;

/// What rows have of a quantity.
enum Sample {
    Numbers(Vec<f32>),
    /// Rows of each class or format.
    Counts(Vec<u64>),
}

impl Sample {
    /// Of no rows yet.
    fn empty(quantity: Quantity, classes: usize) -> Self {
        match quantity {
            Quantity::Class | Quantity::Label => Self::Counts(vec![0; classes]),
            Quantity::Property(Property::Format) => Self::Counts(vec![0; Property::FORMATS.len()]),
            Quantity::Score | Quantity::Confidence | Quantity::Property(_) => Self::Numbers(Vec::new()),
        }
    }

    fn of(collected: &Collected, quantity: Quantity, classes: usize) -> Self {
        let mut sample = Self::empty(quantity, classes);
        collected.rows().filter_map(|row| value(quantity, &row)).for_each(|value| sample.add(value));
        sample
    }

    fn add(&mut self, value: Value) {
        match (self, value) {
            (Self::Numbers(numbers), Value::Number(number)) => numbers.push(number),
            (Self::Counts(counts), Value::Position(position)) => {
                if let Some(count) = counts.get_mut(position) {
                    *count += 1;
                }
            }
            _ => (),
        }
    }

    fn rows(&self) -> u64 {
        match self {
            Self::Numbers(numbers) => numbers.len() as u64,
            Self::Counts(counts) => counts.iter().sum(),
        }
    }
}

/// What one row has of a quantity.
#[derive(Clone, Copy)]
enum Value {
    Number(f32),
    Position(usize),
}

fn value(quantity: Quantity, row: &Row<'_>) -> Option<Value> {
    match quantity {
        Quantity::Score => row.prediction.map(|prediction| Value::Number(prediction.score)),
        Quantity::Confidence => row.prediction.map(|prediction| Value::Number(prediction.confidence)),
        Quantity::Class => row.prediction.map(|prediction| Value::Position(prediction.class as usize)),
        Quantity::Label => row.label.map(|label| Value::Position(label as usize)),
        Quantity::Property(property) => {
            let look = row.look?;
            let number = property.number(look).map(Value::Number);
            number.or_else(|| property.category(look).map(Value::Position))
        }
    }
}

/// A sample that others are compared with.
enum Baseline {
    Numbers(Numbers),
    Counts(Vec<u64>),
}

impl Baseline {
    /// None for too few rows.
    fn new(sample: Sample) -> Option<Self> {
        match sample {
            Sample::Numbers(numbers) => Numbers::new(numbers.into_iter()).map(Self::Numbers),
            Sample::Counts(counts) => Some(Self::Counts(counts)),
        }
    }

    /// None where there is nothing to compare.
    fn compare(&self, sample: &Sample) -> Result<Option<Difference>> {
        match (self, sample) {
            (Self::Numbers(all), Sample::Numbers(numbers)) => Ok(all.compare(numbers.iter().copied())),
            (Self::Counts(all), Sample::Counts(counts)) => two_samples::classes(all, counts),
            _ => Ok(None),
        }
    }

    /// A test of a quantity. `group` is the column and the value that the sample's rows have in common.
    fn test(&self, quantity: Quantity, sample: &Sample, group: Option<(&str, &str)>) -> Result<Option<DriftTest>> {
        let test = |difference: Difference| DriftTest {
            by: group.map(|(by, _)| by.to_owned()),
            value: group.map(|(_, value)| value.to_owned()),
            quantity,
            rows: sample.rows(),
            statistic: difference.statistic,
            p_value: difference.p_value,
            psi: difference.psi,
            significant: false,
        };
        Ok(self.compare(sample)?.map(test))
    }
}

/// What the audited rows are compared with: the reference, or else the calibration rows, of which the bundle keeps the
/// scores and nothing else. None where neither has the quantity.
fn baseline(inputs: &Inputs<'_>, quantity: Quantity) -> Option<Baseline> {
    let sample = match (inputs.reference, inputs.calibration) {
        (Some(reference), _) => Sample::of(reference, quantity, inputs.classes.len()),
        (None, Some(calibration)) if quantity == Quantity::Score => {
            Sample::Numbers(calibration.scores.all().sorted().to_vec())
        }
        _ => return None,
    };
    Baseline::new(sample)
}

/// Tests of all rows and of the largest groups of each division.
pub(super) fn figures(inputs: &Inputs<'_>) -> Result<Option<DriftFigures>> {
    let classes = inputs.classes.len();
    let (mut tests, mut of_groups) = (Vec::new(), Vec::new());
    for quantity in Quantity::all() {
        inputs.cancel.check()?;
        let Some(baseline) = baseline(inputs, quantity) else { continue };
        tests.extend(baseline.test(quantity, &Sample::of(inputs.collected, quantity, classes), None)?);
        for division in &inputs.divisions {
            for (code, sample) in largest_groups(inputs.collected, division, quantity, classes) {
                let group = Some((division.by.as_str(), division.values[code].as_str()));
                of_groups.extend(baseline.test(quantity, &sample, group)?);
            }
        }
    }
    tests.append(&mut of_groups);
    if tests.is_empty() {
        return Ok(None);
    }
    let (against, reference_rows) = match (inputs.reference, inputs.calibration) {
        (Some(reference), _) => ("reference", reference.len() as u64),
        (None, calibration) => ("calibration", calibration.map_or(0, |calibration| calibration.rows)),
    };
    let mut figures = DriftFigures { against: against.into(), reference_rows, tests };
    figures.control(inputs.fdr)?;
    Ok(Some(figures))
}

/// What a division's largest groups have of a quantity, largest first.
fn largest_groups(
    collected: &Collected,
    division: &Division,
    quantity: Quantity,
    classes: usize,
) -> Vec<(usize, Sample)> {
    let values = || {
        let rows = collected.rows().zip(0u32..);
        rows.filter_map(|(row, number)| Some((division.code(number), value(quantity, &row)?)))
    };
    let mut counts = vec![0u64; division.values.len()];
    values().for_each(|(code, _)| counts[code] += 1);
    let large = division.largest(counts);
    let mut groups: Vec<_> = large.iter().map(|(code, _)| (*code, Sample::empty(quantity, classes))).collect();
    let position: HashMap<usize, usize> = large.iter().enumerate().map(|(at, (code, _))| (*code, at)).collect();
    for (code, value) in values() {
        if let Some(at) = position.get(&code) {
            groups[*at].1.add(value);
        }
    }
    groups
}
