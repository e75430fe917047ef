//! Differences from the reference or the calibration rows.

use super::words::number;
use super::{MAX_ROWS, Material};
use crate::collect::Collected;
use crate::drift::{DriftTest, LARGE_PSI, MODERATE_PSI, Quantity};
use crate::text::{counted, p_value};
use crate::view::{Cell, Chart, Section, Table, Tone};
use dismax::calibration::Calibration;
use dismax::error::Result;

/// Bins of the scores' histogram.
const SCORE_BINS: usize = 40;

impl Material<'_> {
    pub(super) fn drift(&mut self, calibration: &Calibration) -> Result<Section> {
        let how = "Two-sample Kolmogorov-Smirnov tests of scores and confidences, a chi-square test of predicted classes, all tests together under \
                   Benjamini and Hochberg. The population stability index (PSI) says how large a difference is: from 0.1 moderate, from 0.25 large.";
        let Some(figures) = &self.summary.drift else {
            let why = "Too few rows could be scored to compare them with anything.".to_owned();
            return Ok(Section::new("drift", "Drift", Tone::Plain, why, how));
        };
        let against = match figures.against.as_str() {
            "reference" => "the reference",
            _ => "the model's calibration rows, of which only the scores are known",
        };
        let whole: Vec<&DriftTest> = figures.tests.iter().filter(|test| test.by.is_none()).collect();
        let found: Vec<&&DriftTest> = whole.iter().filter(|test| test.significant).collect();
        let worst = whole.iter().filter(|test| test.significant).map(|test| test.psi).fold(0.0, f64::max);
        let words: Vec<String> =
            found.iter().map(|test| format!("{} (PSI {:.3})", test.quantity.name(), test.psi)).collect();
        let groups = figures.tests.iter().filter(|test| test.by.is_some() && test.significant).count() as u64;
        let summary = format!(
            "Against {against}, {}.{}",
            match words.as_slice() {
                [] => "no difference is significant".to_owned(),
                words => format!("these differ significantly: {}", words.join(", ")),
            },
            match groups {
                0 => String::new(),
                groups => format!(" {} in groups are significant.", counted(groups, "difference")),
            }
        );
        let tone = match worst {
            worst if worst >= LARGE_PSI => Tone::Bad,
            worst if worst >= MODERATE_PSI => Tone::Warn,
            _ => Tone::Good,
        };
        let mut section = Section::new("drift", "Drift", tone, summary, how);
        section.charts.push(self.score_chart(calibration)?);
        let mut table = Table::new(
            "Comparisons",
            &[
                ("Divided by", false),
                ("Value", false),
                ("Quantity", false),
                ("Rows", true),
                ("Statistic", true),
                ("PSI", true),
                ("p-value", true),
                ("Verdict", false),
            ],
        );
        let mut tests: Vec<&DriftTest> = figures.tests.iter().collect();
        tests.sort_by(|a, b| a.by.is_some().cmp(&b.by.is_some()).then(b.psi.total_cmp(&a.psi)));
        for test in tests.into_iter().take(MAX_ROWS) {
            table.rows.push(vec![
                Cell::text(test.by.as_deref().unwrap_or("all rows")),
                Cell::text(test.value.as_deref().unwrap_or_default()),
                Cell::text(test.quantity.name()),
                number(test.rows),
                Cell::number(format!("{:.3}", test.statistic), test.statistic),
                Cell::number(format!("{:.3}", test.psi), test.psi),
                Cell::number(p_value(test.p_value), test.p_value),
                Cell::text(if test.significant { "significant" } else { "" }),
            ]);
        }
        section.tables.push(table);
        Ok(section)
    }

    fn score_chart(&self, calibration: &Calibration) -> Result<Chart> {
        let scores = |collected: &Collected| -> Vec<f32> {
            collected.rows().filter_map(|row| row.prediction).map(|prediction| prediction.score).collect()
        };
        let audited = scores(self.evidence.collected);
        let (reference, name) = match self.evidence.reference {
            Some(reference) => (scores(reference), "reference"),
            None => (calibration.scores.all().sorted().to_vec(), "calibration rows"),
        };
        let all = audited.iter().chain(&reference).copied().map(f64::from);
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let range = match low < high {
            true => low..high,
            false if low.is_finite() => low - 0.5..low + 0.5,
            false => 0.0..1.0,
        };
        let histogram = |scores: &[f32]| {
            let mut counts = vec![0; SCORE_BINS];
            for score in scores {
                let share = (f64::from(*score) - range.start) / (range.end - range.start);
                if let Some(count) = counts.get_mut(((share * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1)) {
                    *count += 1;
                }
            }
            counts
        };
        let score = calibration.score.name().to_uppercase();
        let (of_audited, of_reference) = (histogram(&audited), histogram(&reference));
        let x_name = format!("{score} (higher is more in-distribution)");
        let svg = dismax_charts::score_distributions(
            &x_name,
            range.clone(),
            [&of_audited, &of_reference],
            ["these rows", name],
        );
        let test =
            self.summary.drift.as_ref().and_then(|drift| {
                drift.tests.iter().find(|test| test.by.is_none() && test.quantity == Quantity::Score)
            });
        let distance = test.map_or(String::new(), |test| {
            format!(" Their distributions are {:.3} apart (Kolmogorov-Smirnov).", test.statistic)
        });
        Ok(Chart {
            title: "Scores".into(),
            svg,
            alt: format!("Histograms of the score {score} of these rows and of the {name}.{distance}"),
        })
    }
}
