//! How often confidences are right, in all rows and in groups of them.

mod gaps;

pub use self::gaps::{CalibrationFigures, ConfidenceGap};
use self::gaps::{GapSums, LabelledConfidence};
use super::check::{About, Check, Found};
use super::divisions::Division;
use super::inputs::Inputs;
use super::rows::predictions;
use crate::collect::{Collected, Prediction, Row};
use crate::need::Need;
use crate::sections::words::{interval, number, points};
use crate::sections::{MAX_ROWS, Material};
use crate::text::{count, counted, percent};
use crate::view::{Cell, Chart, Section, Table, Tile, Tone};
use dismax::error::Result;
use dismax::metrics::{ReliabilityBin, share_interval};

/// Labels at least, before it is said that they look trained on.
const MIN_LABELS: u64 = 100;
/// ECE from which confidences are worth a warning.
const MUCH: f64 = 0.05;

/// The check.
pub(super) struct Calibration;

const ABOUT: About = About {
    id: "calibration",
    title: "Calibration on these rows",
    question: "Are confidences right as often as they say?",
    how: "Rows in 15 bins of equal width by confidence (Guo et al. 2017); ECE is the mean distance between confidence \
          and accuracy, its interval a bootstrap over rows (95 %). A gap is the mean confidence minus the accuracy, \
          with the accuracy's exact interval; binomial tests, all together under Benjamini and Hochberg, decide which \
          gaps are clear.",
    needs: &[Need::Model, Need::Labels],
    kinds: &[],
};

impl Check for Calibration {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let figures = calibrate(inputs.collected, inputs.classes, &inputs.divisions, inputs.fdr)?;
        let Some(figures) = figures else { return Ok(()) };
        found.warnings.extend(trained_on(&figures, inputs.model())?);
        found.figures.insert(figures);
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<CalibrationFigures>() else { return Ok(None) };
        let clear: Vec<_> = figures.groups.iter().filter(|group| group.significant).collect();
        let sure = clear.iter().filter(|group| group.gap.value > 0.0).count() as u64;
        let summary = format!(
            "Confidences are off by {} on average (ECE, {}). Of {} classes and groups the model is clearly too sure of \
             {} and too unsure of {}.",
            percent(figures.ece.value),
            interval(&figures.ece),
            count(figures.groups.len() as u64),
            count(sure),
            count(clear.len() as u64 - sure)
        );
        let mut section = ABOUT.section(tone(figures), summary);
        let bins: Vec<dismax_charts::Bin> = figures.reliability.bins.iter().map(chart_bin).collect();
        section.charts.push(Chart {
            title: "Reliability".into(),
            svg: dismax_charts::reliability_bins(&bins),
            alt: format!("Reliability diagram of {}: ECE {:.4}.", counted(figures.rows, "row"), figures.ece.value),
        });
        section.tables.push(gaps(figures));
        Ok(Some(section))
    }

    fn tiles(&self, material: &Material<'_>) -> Vec<Tile> {
        let tile = |figures: &CalibrationFigures| {
            let note = format!("95 %: {}", interval(&figures.ece));
            Tile::new("Calibration error", percent(figures.ece.value), note, tone(figures))
        };
        material.figures().get().map(tile).into_iter().collect()
    }
}

fn tone(figures: &CalibrationFigures) -> Tone {
    let has_gaps = figures.groups.iter().any(|group| group.significant);
    if has_gaps || figures.ece.interval.lower > MUCH { Tone::Warn } else { Tone::Good }
}

fn gaps(figures: &CalibrationFigures) -> Table {
    let columns = [
        ("Divided by", false),
        ("Value", false),
        ("Rows", true),
        ("Accuracy", true),
        ("Confidence", true),
        ("Gap", true),
        ("95 % interval", false),
        ("Verdict", false),
    ];
    let mut table = Table::new("By class and group", &columns);
    table.rows.extend(figures.groups.iter().take(MAX_ROWS).map(|group| {
        let word = match group.significant {
            true if group.gap.value > 0.0 => "too sure",
            true => "too unsure",
            false => "",
        };
        vec![
            Cell::text(&group.by),
            Cell::text(&group.value),
            number(group.rows),
            Cell::number(percent(group.accuracy), group.accuracy),
            Cell::number(percent(group.confidence), group.confidence),
            Cell::number(points(group.gap.value), group.gap.value),
            Cell::text(&format!("{} to {}", points(group.gap.interval.lower), points(group.gap.interval.upper))),
            Cell::text(word),
        ]
    }));
    table
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

fn calibrate(
    collected: &Collected,
    classes: &[String],
    divisions: &[Division],
    fdr: f64,
) -> Result<Option<CalibrationFigures>> {
    let judged = |row: u32, record: Row<'_>, prediction: &Prediction| {
        let label = record.label?;
        let (confidence, correct) = (prediction.confidence, prediction.class == label);
        let judged = LabelledConfidence { confidence, correct, label_probability: record.label_probability };
        Some((row, prediction.class, judged))
    };
    let labelled =
        || predictions(collected).filter_map(move |(row, record, prediction)| judged(row, record, prediction));
    let rows: Vec<LabelledConfidence> = labelled().map(|(_, _, judged)| judged).collect();
    let mut groups: Vec<ConfidenceGap> = Vec::new();
    let mut by_class = vec![GapSums::default(); classes.len()];
    // By the predicted class: given the true one, a calibrated model looks too unsure of rare classes.
    for (_, class, judged) in labelled() {
        by_class[class as usize].add(&judged);
    }
    for (sums, class) in by_class.iter().zip(classes).filter(|(sums, _)| sums.rows() > 0) {
        groups.push(sums.gap("class", class)?);
    }
    for division in divisions {
        let mut sums = vec![GapSums::default(); division.values.len()];
        for (row, _, judged) in labelled() {
            sums[division.code(row)].add(&judged);
        }
        for (code, _) in division.largest(sums.iter().map(GapSums::rows)) {
            groups.push(sums[code].gap(&division.by, &division.values[code])?);
        }
    }
    gaps::figures(&rows, groups, fdr)
}

/// Warns where the labels are predicted so well that the rows were probably trained on: better than the held-out rows
/// by more than chance. Unknown images count too: without them any model looks better.
fn trained_on(figures: &CalibrationFigures, calibration: &dismax::calibration::Calibration) -> Result<Option<String>> {
    if figures.rows < MIN_LABELS {
        return Ok(None);
    }
    let held_out = calibration.fit.accuracy;
    let right = (held_out * calibration.rows as f64).round() as u64;
    let expected = share_interval(right.min(calibration.rows), calibration.rows, 0.99)?;
    let found = share_interval(figures.correct, figures.rows, 0.99)?;
    if found.lower <= expected.upper {
        return Ok(None);
    }
    Ok(Some(format!(
        "The model is right on {} of the labelled rows, but on {} of the rows that were held out when it was made. \
         These rows were probably trained on: what it says of their labels and of how well it is calibrated is too \
         good.",
        percent(figures.correct as f64 / figures.rows as f64),
        percent(held_out)
    )))
}
