//! How often confidences are right.

use super::words::{interval, number, points};
use super::{MAX_ROWS, Material};
use crate::text::{count, counted, percent};
use crate::view::{Cell, Chart, Section, Table, Tone};
use dismax::error::Result;
use dismax::metrics::ReliabilityBin;

impl Material<'_> {
    pub(super) fn calibration(&mut self) -> Result<Section> {
        let how = "Rows in 15 bins of equal width by confidence; ECE is the mean distance between confidence and accuracy, its interval a bootstrap \
                   over rows (95 %). A gap is the mean confidence minus the accuracy, with the accuracy's exact interval; binomial tests, all together \
                   under Benjamini and Hochberg, decide which gaps are clear.";
        let Some(figures) = &self.summary.calibration else {
            let why = "Without labels nothing can be said of how often confidences are right.".to_owned();
            return Ok(Section::new("calibration", "Calibration on these rows", Tone::Plain, why, how));
        };
        let clear: Vec<_> = figures.groups.iter().filter(|group| group.significant).collect();
        let sure = clear.iter().filter(|group| group.gap.value > 0.0).count() as u64;
        let summary = format!(
            "Confidences are off by {} on average (ECE, {}). Of {} classes and groups the model is clearly too sure of {} and too unsure of {}.",
            percent(figures.ece.value),
            interval(&figures.ece),
            count(figures.groups.len() as u64),
            count(sure),
            count(clear.len() as u64 - sure)
        );
        let tone = if figures.ece.interval.lower > 0.05 { Tone::Warn } else { Tone::Good };
        let mut section = Section::new("calibration", "Calibration on these rows", tone, summary, how);
        let bins: Vec<dismax_charts::Bin> = figures.reliability.bins.iter().map(chart_bin).collect();
        section.charts.push(Chart {
            title: "Reliability".into(),
            svg: dismax_charts::reliability_bins(&bins),
            alt: format!("Reliability diagram of {}: ECE {:.4}.", counted(figures.rows, "row"), figures.ece.value),
        });
        let mut table = Table::new(
            "By class and group",
            &[
                ("Divided by", false),
                ("Value", false),
                ("Rows", true),
                ("Accuracy", true),
                ("Confidence", true),
                ("Gap", true),
                ("95 % interval", false),
                ("Verdict", false),
            ],
        );
        for group in figures.groups.iter().take(MAX_ROWS) {
            let word = match group.significant {
                true if group.gap.value > 0.0 => "too sure",
                true => "too unsure",
                false => "",
            };
            table.rows.push(vec![
                Cell::text(&group.by),
                Cell::text(&group.value),
                number(group.rows),
                Cell::number(percent(group.accuracy), group.accuracy),
                Cell::number(percent(group.confidence), group.confidence),
                Cell::number(points(group.gap.value), group.gap.value),
                Cell::text(&format!("{} to {}", points(group.gap.interval.lower), points(group.gap.interval.upper))),
                Cell::text(word),
            ]);
        }
        section.tables.push(table);
        Ok(section)
    }
}

fn chart_bin(bin: &ReliabilityBin) -> dismax_charts::Bin {
    dismax_charts::Bin {
        lower: f64::from(bin.lower),
        upper: f64::from(bin.upper),
        count: bin.count,
        confidence: bin.confidence,
        accuracy: bin.accuracy,
    }
}
