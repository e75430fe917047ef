//! The curve of a training.

use plotters::prelude::*;

use super::fault;
use crate::error::Result;
use crate::train::EpochRecord;

const SIZE: (u32, u32) = (900, 360);

/// Two panels over the epochs: negative log-likelihood (nats, temperature 1) and accuracy (%), each for the training rows
/// and the held-out rows.
///
/// # Errors
/// [`crate::Error::Internal`] if plotters cannot draw.
pub fn training(records: &[EpochRecord]) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(fault)?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        let nll = |record: &EpochRecord| (record.train_nll, record.validation_nll);
        panel(&left, records, "negative log-likelihood (nats)", nll)?;
        let accuracy = |record: &EpochRecord| (100.0 * record.train_accuracy, 100.0 * record.validation_accuracy);
        panel(&right, records, "accuracy (%)", accuracy)?;
        root.present().map_err(fault)?;
    }
    Ok(svg)
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    records: &[EpochRecord],
    title: &str,
    values: impl Fn(&EpochRecord) -> (f64, f64),
) -> Result<()> {
    let all = || records.iter().map(&values).flat_map(|(a, b)| [a, b]).filter(|value| value.is_finite());
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low < high { (low, high) } else { (low.min(0.0), low.max(0.0) + 1.0) };
    let margin = 0.05 * (high - low);
    let epochs = records.len().max(2) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(1.0..epochs, low - margin..high + margin)
        .map_err(fault)?;
    chart.configure_mesh().x_desc("epoch").light_line_style(WHITE).draw().map_err(fault)?;
    let point = |record: &EpochRecord, value: f64| (record.epoch as f64, value);
    let train: Vec<(f64, f64)> = records.iter().map(|record| point(record, values(record).0)).collect();
    let held_out: Vec<(f64, f64)> = records.iter().map(|record| point(record, values(record).1)).collect();
    for (name, points, colour) in [("training", train, BLUE), ("held out", held_out, RED)] {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(fault)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw().map_err(fault)
}
