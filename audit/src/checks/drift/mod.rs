//! Differences from the reference or the calibration rows.

mod figures;
mod samples;
mod two_samples;

pub use self::figures::{DriftFigures, DriftTest, Quantity};
pub(crate) use self::figures::{LARGE_PSI, MODERATE_PSI};
use super::check::{About, Check, Found};
use super::inputs::Inputs;
use crate::collect::Collected;
use crate::sections::words::number;
use crate::sections::{MAX_ROWS, Material};
use crate::text::{counted, p_value};
use crate::view::{Cell, Chart, Section, Table, Tile, Tone};
use dismax::calibration::Calibration;
use dismax::error::Result;

/// Bins of the scores' histogram.
const SCORE_BINS: usize = 40;

/// The check.
pub(super) struct Drift;

const ABOUT: About = About {
    id: "drift",
    title: "Drift",
    question: "Do these rows differ from the reference, or from the rows that the model was calibrated on?",
    how: "Two-sample Kolmogorov-Smirnov tests of scores, confidences and properties of the images, chi-square tests of \
          predicted classes, labels and formats, all tests together under Benjamini and Hochberg. The population \
          stability index (PSI, Siddiqi 2006) says how large a difference is: from 0.1 moderate, from 0.25 large.",
    needs: &[],
    kinds: &[],
};

impl Check for Drift {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        if let Some(figures) = samples::figures(inputs)? {
            found.figures.insert(figures);
        }
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<DriftFigures>() else {
            let is_compared = material.calibration.is_some() || material.evidence.reference.is_some();
            let why = || "Too few rows could be read to compare them with anything.".to_owned();
            return Ok(is_compared.then(|| ABOUT.section(Tone::Plain, why())));
        };
        let mut section = ABOUT.section(tone(figures), summary(figures));
        section.charts.extend(material.calibration.map(|calibration| score_chart(material, figures, calibration)));
        section.tables.push(comparisons(figures));
        Ok(Some(section))
    }

    fn tiles(&self, material: &Material<'_>) -> Vec<Tile> {
        let tile = |figures: &DriftFigures| {
            // What differs most; where nothing does, the score stands for the model.
            let score = figures.of_all_rows().find(|test| test.quantity == Quantity::Score);
            let test = figures.worst().or(score).or(figures.of_all_rows().next())?;
            let note = format!("PSI of the {}, p-value {}", test.quantity.name(), p_value(test.p_value));
            Some(Tile::new("Drift", format!("{:.3}", test.psi), note, tone(figures)))
        };
        material.figures().get().and_then(tile).into_iter().collect()
    }
}

/// What is significant is to be looked at, also in a group alone; large differences of all rows are a problem.
fn tone(figures: &DriftFigures) -> Tone {
    match figures.worst() {
        Some(test) if test.psi >= LARGE_PSI => Tone::Bad,
        None if figures.tests.iter().all(|test| !test.significant) => Tone::Good,
        _ => Tone::Warn,
    }
}

fn summary(figures: &DriftFigures) -> String {
    let against = match figures.against.as_str() {
        "reference" => "the reference",
        _ => "the model's calibration rows, of which only the scores are known",
    };
    let found = figures.of_all_rows().filter(|test| test.significant);
    let words: Vec<String> = found.map(|test| format!("{} (PSI {:.3})", test.quantity.name(), test.psi)).collect();
    let is_small = figures.worst().is_some_and(|test| test.psi < MODERATE_PSI);
    let groups = figures.tests.iter().filter(|test| test.by.is_some() && test.significant).count() as u64;
    format!(
        "Against {against}, {}.{}",
        match words.as_slice() {
            [] if groups > 0 => "no difference of all rows is significant".to_owned(),
            [] => "no difference is significant".to_owned(),
            words => format!(
                "these differ significantly{}: {}",
                if is_small { ", but little" } else { "" },
                words.join(", ")
            ),
        },
        match groups {
            0 => String::new(),
            groups => format!(" {} in groups are significant.", counted(groups, "difference")),
        }
    )
}

fn comparisons(figures: &DriftFigures) -> Table {
    let columns = [
        ("Divided by", false),
        ("Value", false),
        ("Quantity", false),
        ("Rows", true),
        ("Statistic", true),
        ("PSI", true),
        ("p-value", true),
        ("Verdict", false),
    ];
    let mut table = Table::new("Comparisons", &columns);
    let mut tests: Vec<&DriftTest> = figures.tests.iter().collect();
    tests.sort_by(|a, b| a.by.is_some().cmp(&b.by.is_some()).then(b.psi.total_cmp(&a.psi)));
    table.rows.extend(tests.into_iter().take(MAX_ROWS).map(|test| {
        vec![
            Cell::text(test.by.as_deref().unwrap_or("all rows")),
            Cell::text(test.value.as_deref().unwrap_or_default()),
            Cell::text(test.quantity.name()),
            number(test.rows),
            Cell::number(format!("{:.3}", test.statistic), test.statistic),
            Cell::number(format!("{:.3}", test.psi), test.psi),
            Cell::number(p_value(test.p_value), test.p_value),
            Cell::text(if test.significant { "significant" } else { "" }),
        ]
    }));
    table
}

/// Histograms of the scores of both.
fn score_chart(material: &Material<'_>, figures: &DriftFigures, calibration: &Calibration) -> Chart {
    let scores = |collected: &Collected| -> Vec<f32> {
        collected.rows().filter_map(|row| row.prediction).map(|prediction| prediction.score).collect()
    };
    let audited = scores(material.evidence.collected);
    let (reference, name) = match material.evidence.reference {
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
    let svg =
        dismax_charts::score_distributions(&x_name, range.clone(), [&of_audited, &of_reference], ["these rows", name]);
    let test = figures.of_all_rows().find(|test| test.quantity == Quantity::Score);
    let distance = test.map_or(String::new(), |test| {
        format!(" Their distributions are {:.3} apart (Kolmogorov-Smirnov).", test.statistic)
    });
    Chart {
        title: "Scores".into(),
        svg,
        alt: format!("Histograms of the score {score} of these rows and of the {name}.{distance}"),
    }
}
