//! How often prediction sets have the true class.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::rows::predictions;
use crate::need::Need;
use crate::sections::words::{interval, number};
use crate::sections::{MAX_ROWS, Material};
use crate::text::{count, counted, p_value, percent};
use crate::view::{Cell, Section, Table, Tone};
use dismax::calibration::{Estimate, PredictionSets, benjamini_hochberg};
use dismax::error::Result;
use dismax::metrics::share_interval;

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;

/// How often prediction sets have the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoverageFigures {
    /// Share of the rows of each class whose set may lack it: the model's alpha.
    pub alpha: f64,
    /// All rows first, then classes by label, then the largest groups.
    pub coverages: Vec<Coverage>,
}

/// How often the sets of some of the rows have the label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// What divides the rows: none for all rows, `label`, or the name of a column.
    pub by: Option<String>,
    /// The class or the column's value.
    pub value: Option<String>,
    /// Rows with a label and a prediction.
    pub rows: u64,
    /// Those whose set has the label.
    pub covered: u64,
    /// Their share, with its exact 95 % interval.
    pub coverage: Estimate,
    /// Chance of so many rows without their label where the rows are like the calibration rows: one-sided, normal
    /// approximation, which allows for the number of calibration rows.
    pub p_value: f64,
    /// Whether Benjamini-Hochberg over all classes and groups calls the coverage too small.
    pub significant: bool,
}

/// The check.
pub(super) struct SetCoverage;

const ABOUT: About = About {
    id: "coverage",
    title: "Coverage of prediction sets",
    question: "Do prediction sets have the true class as often as they promise, in every class and group?",
    how: "Class-conditional sets of the least ambiguous kind (LAC; Sadinle, Lei and Wasserman 2019) at the model's \
          alpha, made from its calibration rows. Shares with exact intervals (Clopper and Pearson 1934, 95 %). That \
          rows lack their label more often than alpha is tested one-sided, all together under Benjamini and Hochberg. \
          Wrong labels count as missing.",
    needs: &[Need::Model, Need::Labels],
    kinds: &[],
};

impl Check for SetCoverage {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let calibration = inputs.model();
        // Earlier releases kept no sets, and few rows make none at a small alpha.
        let sets = calibration.prediction_sets.as_ref();
        let sets = sets.and_then(|sets| Some((sets, sets.at(calibration.alpha).ok()?)));
        let Some((sets, thresholds)) = sets else { return Ok(()) };
        let judged = || {
            predictions(inputs.collected).filter_map(|(row, record, _)| {
                let label = record.label?;
                Some((row, label, thresholds.has(label as usize, record.label_probability)))
            })
        };
        let (mut all, mut of_class) = (Sums::default(), vec![Sums::default(); inputs.classes.len()]);
        for (_, label, has_label) in judged() {
            all.add(label, has_label);
            of_class[label as usize].add(label, has_label);
        }
        if all.rows() == 0 {
            return Ok(());
        }
        let measure = |sums: &Sums, group: Option<(&str, &str)>| sums.coverage(group, calibration.alpha, sets);
        let mut coverages = vec![measure(&all, None)?];
        for (sums, class) in of_class.iter().zip(inputs.classes).filter(|(sums, _)| sums.rows() > 0) {
            coverages.push(measure(sums, Some(("label", class)))?);
        }
        for division in &inputs.divisions {
            let mut groups = vec![Sums::default(); division.values.len()];
            judged().for_each(|(row, label, has_label)| groups[division.code(row)].add(label, has_label));
            for (code, _) in division.largest(groups.iter().map(Sums::rows)) {
                coverages.push(measure(&groups[code], Some((&division.by, &division.values[code])))?);
            }
        }
        let most = benjamini_hochberg(coverages.iter().map(|coverage| coverage.p_value), inputs.fdr)?;
        for coverage in &mut coverages {
            coverage.significant = most.is_some_and(|most| coverage.p_value <= most);
        }
        found.figures.insert(CoverageFigures { alpha: calibration.alpha, coverages });
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<CoverageFigures>() else { return Ok(None) };
        let Some(all) = figures.coverages.first() else { return Ok(None) };
        let low = figures.coverages.iter().filter(|coverage| coverage.by.is_some() && coverage.significant).count();
        let summary = format!(
            "Prediction sets at alpha {} have the label of {} of {} ({}); {} were promised. {}",
            figures.alpha,
            percent(all.coverage.value),
            counted(all.rows, "row"),
            interval(&all.coverage),
            percent(1.0 - figures.alpha),
            match low {
                0 => "It is clearly smaller in no class and no group.".to_owned(),
                low => format!("It is clearly smaller in {} of the classes and groups.", count(low as u64)),
            }
        );
        let is_low = all.significant || low > 0;
        let mut section = ABOUT.section(if is_low { Tone::Warn } else { Tone::Good }, summary);
        section.tables.push(table(figures));
        Ok(Some(section))
    }
}

/// Labelled rows of each class, and those among all whose set lacks the label.
#[derive(Debug, Clone, Default)]
struct Sums {
    rows: BTreeMap<u32, u64>,
    missing: u64,
}

impl Sums {
    fn add(&mut self, label: u32, has_label: bool) {
        *self.rows.entry(label).or_default() += 1;
        self.missing += u64::from(!has_label);
    }

    fn rows(&self) -> u64 {
        self.rows.values().sum()
    }

    /// There must be a row.
    fn coverage(&self, group: Option<(&str, &str)>, alpha: f64, sets: &PredictionSets) -> Result<Coverage> {
        let rows = self.rows();
        let covered = rows - self.missing;
        let p_value = too_many(self.missing, &self.rows, alpha, |class| sets.rows(class as usize) as f64);
        Ok(Coverage {
            by: group.map(|(by, _)| by.to_owned()),
            value: group.map(|(_, value)| value.to_owned()),
            rows,
            covered,
            coverage: Estimate { value: covered as f64 / rows as f64, interval: share_interval(covered, rows, LEVEL)? },
            p_value,
            significant: false,
        })
    }
}

/// Chance of at least `missing` rows without their label among `rows` of each class, where each lacks it with a chance
/// of alpha. Where the threshold of a class lies is itself known from `calibration_rows` of it: the misses of m rows
/// have the variance of a beta-binomial distribution, `m a (1 - a) (1 + (m - 1) / (n + 2))`.
fn too_many(missing: u64, rows: &BTreeMap<u32, u64>, alpha: f64, calibration_rows: impl Fn(u32) -> f64) -> f64 {
    let variance = |(class, rows): (&u32, &u64)| {
        let m = *rows as f64;
        m * alpha * (1.0 - alpha) * (1.0 + (m - 1.0) / (calibration_rows(*class) + 2.0))
    };
    let deviation = rows.iter().map(variance).sum::<f64>().sqrt();
    let expected = alpha * rows.values().sum::<u64>() as f64;
    // Half a row less, as misses are whole (continuity correction).
    Normal::standard().sf((missing as f64 - 0.5 - expected) / deviation).clamp(0.0, 1.0)
}

fn table(figures: &CoverageFigures) -> Table {
    let columns = [
        ("Divided by", false),
        ("Value", false),
        ("Rows", true),
        ("Coverage", true),
        ("95 % interval", false),
        ("p-value", true),
        ("Verdict", false),
    ];
    let mut table = Table::new("All rows, classes and groups", &columns);
    let mut coverages: Vec<&Coverage> = figures.coverages.iter().collect();
    if coverages.len() > MAX_ROWS {
        coverages.sort_by(|a, b| a.by.is_some().cmp(&b.by.is_some()).then(a.p_value.total_cmp(&b.p_value)));
    }
    table.rows.extend(coverages.into_iter().take(MAX_ROWS).map(|coverage| {
        let share = coverage.coverage.value;
        vec![
            Cell::text(coverage.by.as_deref().unwrap_or("all rows")),
            Cell::text(coverage.value.as_deref().unwrap_or_default()),
            number(coverage.rows),
            Cell::number(percent(share), share),
            Cell::text(&interval(&coverage.coverage)),
            Cell::number(p_value(coverage.p_value), coverage.p_value),
            Cell::text(if coverage.significant { "too small" } else { "" }),
        ]
    }));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_by_hand() {
        let one = BTreeMap::from([(3, 100)]);
        // 100 rows at 0.1: 16 misses are (15.5 - 10) / 3 = 1.833 deviations above; R: pnorm(-1.833) = 0.0334.
        let many = too_many(16, &one, 0.1, |_| 1e12);
        assert!((many - 0.0334).abs() < 1e-3, "{many}");
        // With 98 calibration rows the variance is 9 (1 + 99 / 100): 1.2996 deviations, 0.0969.
        let few = too_many(16, &one, 0.1, |_| 98.0);
        assert!((few - 0.0969).abs() < 1e-3, "{few}");
        // Of two classes the thresholds are off independently: 9 (1 + 49 / 100), 1.502 deviations, 0.0665.
        let two = too_many(16, &BTreeMap::from([(0, 50), (7, 50)]), 0.1, |_| 98.0);
        assert!((two - 0.0665).abs() < 1e-3, "{two}");
        assert!(too_many(0, &one, 0.1, |_| 98.0) > 0.9);
    }
}
