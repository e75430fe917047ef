//! Properties of images that predict the label: what a network may learn instead of what it should.

mod predictor;
mod ranges;

use serde::{Deserialize, Serialize};

use self::predictor::{Cell as ClassInRange, Counts};
use self::ranges::Ranges;
use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::properties::Property;
use super::rows::labels;
use crate::collect::{Collected, Look};
use crate::need::Need;
use crate::sections::Material;
use crate::sections::words::number;
use crate::text::{p_value, percent};
use crate::view::{Cell, Section, Table, Tone};
use dismax::calibration::{Estimate, benjamini_hochberg};
use dismax::error::Result;
use dismax::metrics::share_interval;

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;
/// Labelled rows at least.
const MIN_ROWS: u64 = 100;
/// Classes that are said to go with ranges of a property, at most: those whose share differs most.
const MOST: usize = 3;
/// Gain from which a property is worth a look, as in deepchecks' condition on correlations of property and label.
const WORTH_A_LOOK: f64 = 0.2;
/// Gain from which it predicts the label nearly as well as a network might: cleanlab's threshold.
const NEARLY_ALL: f64 = 0.7;

/// How well properties of images predict the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpuriousCorrelationFigures {
    /// Rows with a label whose image could be decoded.
    pub rows: u64,
    /// Properties that have more than one range of values, strongest first.
    pub properties: Vec<PropertyCorrelation>,
}

/// How well a property predicts the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PropertyCorrelation {
    /// The property.
    pub property: Property,
    /// Rows that have it and a label.
    pub rows: u64,
    /// Share of rows whose label is the commonest in the property's range, as the other half of the rows has it.
    pub accuracy: f64,
    /// Share of rows whose label is the commonest of all, as the other half of the rows has it.
    pub majority: f64,
    /// Share of the majority's errors that the property avoids: Goodman and Kruskal's lambda (1954), cross-validated;
    /// at most 1, below 0 by chance.
    pub gain: f64,
    /// Chance of so good a prediction where the property says nothing: sign test, one-sided.
    pub p_value: f64,
    /// Whether Benjamini-Hochberg over all properties calls it significant.
    pub significant: bool,
    /// Classes that are clearly commoner in a range of the property than elsewhere (Benjamini-Hochberg over all
    /// classes, ranges and properties), at most 3: those whose share differs most.
    pub associations: Vec<Association>,
}

/// A class that goes with a range of a property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Association {
    /// Name of the class.
    pub class: String,
    /// The range in words.
    pub range: String,
    /// Rows in the range.
    pub rows: u64,
    /// Share of the class among these, with its exact 95 % interval.
    pub share: Estimate,
    /// Share of the class among all other rows.
    pub share_elsewhere: f64,
}

/// The check.
pub(super) struct SpuriousCorrelations;

const ABOUT: About = About {
    id: "spurious-correlations",
    title: "Spurious correlations",
    question: "Does a property such as light or size predict the label, so that a network could learn it instead of \
               what is in the picture?",
    how: "Each property in at most ten ranges with as many rows each (few different values in a range each). One half \
          of the rows says which class is commonest in a range, the other half is predicted so, and the other way \
          round. The gain is the share of the majority class's errors that are avoided (Goodman and Kruskal's lambda, \
          1954), tested by an exact sign test (McNemar 1947), all properties together under Benjamini and Hochberg.",
    needs: &[Need::Labels],
    kinds: &[],
};

impl Check for SpuriousCorrelations {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let rows = looks_with_labels(inputs.collected).count() as u64;
        if rows < MIN_ROWS {
            return Ok(());
        }
        let mut candidates = Vec::new();
        for property in Property::ALL {
            inputs.cancel.check()?;
            candidates.extend(Candidate::new(property, inputs.collected, inputs.classes.len())?);
        }
        let properties = judged(candidates, inputs.classes, inputs.fdr)?;
        found.figures.insert(SpuriousCorrelationFigures { rows, properties });
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<SpuriousCorrelationFigures>() else { return Ok(None) };
        let clear: Vec<&PropertyCorrelation> = figures.properties.iter().filter(|found| found.significant).collect();
        let strong: Vec<String> = clear
            .iter()
            .filter(|found| found.gain >= WORTH_A_LOOK)
            .map(|found| format!("{} avoids {} of the errors", found.property.name(), percent(found.gain)))
            .collect();
        let summary = match (strong.as_slice(), clear.first()) {
            ([], None) => {
                "No property of the images predicts the label better than its commonest class does.".to_owned()
            }
            ([], Some(first)) => format!(
                "No property of the images predicts the label much better than its commonest class does; the best is \
                 {}, which avoids {} of the errors.",
                first.property.name(),
                percent(first.gain)
            ),
            (strong, _) => format!(
                "Properties of the images predict the label better than its commonest class does: {}. A network can \
                 learn these instead of what is in the picture.",
                strong.join(", ")
            ),
        };
        let tone = match clear.iter().map(|found| found.gain).fold(0.0, f64::max) {
            gain if gain >= NEARLY_ALL => Tone::Bad,
            gain if gain >= WORTH_A_LOOK => Tone::Warn,
            _ => Tone::Good,
        };
        let mut section = ABOUT.section(tone, summary);
        if !clear.is_empty() {
            section.tables = vec![properties(&clear), associations(&clear)];
        }
        Ok(Some(section))
    }
}

/// Labels, and what the images look like.
fn looks_with_labels(collected: &Collected) -> impl Iterator<Item = (u32, &Look)> + Clone {
    labels(collected).filter_map(|(_, row, label)| Some((label, row.look?)))
}

/// A property before all are judged together.
struct Candidate {
    property: Property,
    judgement: predictor::Judgement,
    cells: Vec<ClassInRange>,
    /// Ranges in words.
    ranges: Vec<String>,
}

impl Candidate {
    /// None where all rows lie in one range, or have one class.
    fn new(property: Property, collected: &Collected, classes: usize) -> Result<Option<Self>> {
        let (rows, ranges): (Vec<(usize, u32)>, Vec<String>) = match property {
            Property::Format => {
                let rows = looks_with_labels(collected)
                    .filter_map(|(label, look)| Some((property.category(look)?, label)))
                    .collect();
                (rows, Property::FORMATS.map(|format| format.name().to_owned()).to_vec())
            }
            _ => {
                let values: Vec<(f32, u32)> = looks_with_labels(collected)
                    .filter_map(|(label, look)| Some((property.number(look)?, label)))
                    .collect();
                let Some(ranges) = Ranges::of(&values.iter().map(|(value, _)| *value).collect::<Vec<_>>()) else {
                    return Ok(None);
                };
                let words = in_words(property, &ranges, &values);
                (values.into_iter().map(|(value, label)| (ranges.position(value), label)).collect(), words)
            }
        };
        let is_one = |of: fn(&(usize, u32)) -> usize| rows.windows(2).all(|two| of(&two[0]) == of(&two[1]));
        if is_one(|row| row.0) || is_one(|row| row.1 as usize) {
            return Ok(None);
        }
        let counts = Counts::of(rows.into_iter(), ranges.len(), classes);
        Ok(Some(Self { property, judgement: counts.judgement()?, cells: counts.cells()?, ranges }))
    }
}

/// What each range holds: its smallest and its largest value.
fn in_words(property: Property, ranges: &Ranges, values: &[(f32, u32)]) -> Vec<String> {
    let mut ends = vec![(f32::INFINITY, f32::NEG_INFINITY); ranges.len()];
    for (value, _) in values {
        let (lowest, highest) = &mut ends[ranges.position(*value)];
        *lowest = lowest.min(*value);
        *highest = highest.max(*value);
    }
    let words = |value: f32| property.words(value.into());
    ends.into_iter()
        .map(|(lowest, highest)| match lowest < highest {
            true => format!("{} to {}", words(lowest), words(highest)),
            false => words(lowest),
        })
        .collect()
}

/// Properties, strongest first, and which class goes with which range.
fn judged(candidates: Vec<Candidate>, classes: &[String], fdr: f64) -> Result<Vec<PropertyCorrelation>> {
    let most = benjamini_hochberg(candidates.iter().map(|candidate| candidate.judgement.p_value), fdr)?;
    let cells = candidates.iter().flat_map(|candidate| &candidate.cells);
    let most_of_cells = benjamini_hochberg(cells.map(|cell| cell.p_value), fdr)?;
    let mut properties = Vec::new();
    for Candidate { property, judgement, mut cells, ranges } in candidates {
        cells.retain(|cell| most_of_cells.is_some_and(|most| cell.p_value <= most));
        let difference = |cell: &ClassInRange| cell.hits as f64 / cell.rows as f64 - cell.elsewhere;
        cells.sort_by(|a, b| difference(b).total_cmp(&difference(a)));
        let association = |cell: &ClassInRange| {
            let interval = share_interval(cell.hits, cell.rows, LEVEL)?;
            Ok(Association {
                class: classes[cell.class].clone(),
                range: ranges[cell.range].clone(),
                rows: cell.rows,
                share: Estimate { value: cell.hits as f64 / cell.rows as f64, interval },
                share_elsewhere: cell.elsewhere,
            })
        };
        let (rows, right, majority) = (judgement.rows as f64, judgement.right as f64, judgement.majority as f64);
        properties.push(PropertyCorrelation {
            property,
            rows: judgement.rows,
            accuracy: right / rows,
            majority: majority / rows,
            gain: (right - majority) / (rows - majority).max(1.0),
            p_value: judgement.p_value,
            significant: most.is_some_and(|most| judgement.p_value <= most),
            associations: cells.iter().take(MOST).map(association).collect::<Result<_>>()?,
        });
    }
    properties.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    Ok(properties)
}

fn properties(found: &[&PropertyCorrelation]) -> Table {
    let columns = [
        ("Property", false),
        ("Rows", true),
        ("Right by its range", true),
        ("Right by the commonest class", true),
        ("Errors avoided", true),
        ("p-value", true),
    ];
    let mut table = Table::new("Properties that predict the label", &columns);
    table.rows.extend(found.iter().map(|found| {
        vec![
            Cell::text(found.property.name()),
            number(found.rows),
            Cell::number(percent(found.accuracy), found.accuracy),
            Cell::number(percent(found.majority), found.majority),
            Cell::bar(percent(found.gain), found.gain, found.gain.clamp(0.0, 1.0)),
            Cell::number(p_value(found.p_value), found.p_value),
        ]
    }));
    table
}

fn associations(found: &[&PropertyCorrelation]) -> Table {
    let columns = [
        ("Property", false),
        ("Range", false),
        ("Class", false),
        ("Rows in the range", true),
        ("Share of the class", true),
        ("Elsewhere", true),
    ];
    let mut table = Table::new("Classes that go with a range", &columns);
    let all = found.iter().flat_map(|found| found.associations.iter().map(|association| (found.property, association)));
    table.rows.extend(all.map(|(property, association)| {
        vec![
            Cell::text(property.name()),
            Cell::text(&association.range),
            Cell::text(&association.class),
            number(association.rows),
            Cell::number(percent(association.share.value), association.share.value),
            Cell::number(percent(association.share_elsewhere), association.share_elsewhere),
        ]
    }));
    table
}
