//! The curve of a training.

use plotters::prelude::*;

use super::{Area, BLUE, FONT, LABEL, LINE, Mark, TITLE, VERMILLION, fault, legend, picture};
use dismax::error::Result;
use dismax::model::EpochRecord;

const SIZE: (u32, u32) = (900, 640);
/// Height of the first row of panels.
const UPPER: u32 = 350;
const SERIES: [(&str, RGBColor); 2] = [("training rows", BLUE), ("held-out rows", VERMILLION)];
/// Up to so many epochs each is marked by a dot.
const EPOCHS_WITH_DOTS: usize = 40;

/// Panels over the epochs: negative log-likelihood (nats, temperature 1) and accuracy (%), each for the training rows and
/// the held-out rows, below them the learning rate at the end of each epoch and the training images per second. Values that
/// are not finite are left out.
///
/// # Errors
/// [`dismax::Error::Internal`] if plotters cannot draw.
pub fn training(records: &[EpochRecord]) -> Result<String> {
    let nll = |record: &EpochRecord| [record.train_nll, record.validation_nll];
    let accuracy = |record: &EpochRecord| [100.0 * record.train_accuracy, 100.0 * record.validation_accuracy];
    picture(SIZE, |root| {
        let (panels, lower) = root.split_vertically(UPPER);
        let (strip, lower) = lower.split_vertically(LINE + 8);
        let (left, right) = panels.split_horizontally(SIZE.0 / 2);
        panel(&left, records, "Negative log-likelihood (nats)", nll)?;
        panel(&right, records, "Accuracy (%)", accuracy)?;
        let (left, right) = lower.split_horizontally(SIZE.0 / 2);
        panel(&left, records, "Learning rate", |record| [record.learning_rate])?;
        panel(&right, records, "Training images per second", |record| [record.images_per_second])?;
        let entries = SERIES.map(|(name, colour)| (Mark::Line, colour, name.to_owned()));
        legend(&strip, 290, 180, SERIES.len(), &entries)
    })
}

fn panel<const N: usize>(
    area: &Area<'_>,
    records: &[EpochRecord],
    title: &str,
    values: impl Fn(&EpochRecord) -> [f64; N],
) -> Result<()> {
    let (low, high) = range(records.iter().flat_map(&values));
    let epochs = records.iter().map(|record| record.epoch).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, TITLE))
        .margin(10)
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(48)
        // A little room on both sides, so that the first and the last dot are whole.
        .build_cartesian_2d(1.0 - 0.02 * epochs as f64..1.02 * epochs as f64, low..high)
        .map_err(fault)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_desc("epoch")
        .x_labels(epochs.min(10))
        .x_label_formatter(&|epoch| whole(*epoch))
        .y_labels(8)
        .y_label_formatter(&|value| short(*value))
        .label_style((FONT, LABEL))
        .axis_desc_style((FONT, LABEL))
        .draw()
        .map_err(fault)?;
    for (series, (_, colour)) in SERIES.into_iter().enumerate().take(N) {
        let points = records.iter().map(|record| (record.epoch as f64, values(record)[series]));
        let points: Vec<(f64, f64)> = points.filter(|point| point.1.is_finite()).collect();
        if records.len() <= EPOCHS_WITH_DOTS {
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled()))).map_err(fault)?;
        }
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(fault)?;
    }
    Ok(())
}

/// The smallest and largest finite value with some room; 0 to 1 where there is none.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let margin = match low < high {
        true => 0.05 * (high - low),
        false if low.is_finite() => (0.05 * low.abs()).max(0.01),
        false => return (0.0, 1.0),
    };
    (low - margin, high + margin)
}

/// To the fourth place, without zeros at the end.
fn short(value: f64) -> String {
    ((value * 1e4).round() / 1e4).to_string()
}

/// Epochs are whole numbers from 1: other marks stay empty.
fn whole(epoch: f64) -> String {
    if epoch > 0.5 && (epoch - epoch.round()).abs() < 1e-6 { format!("{epoch:.0}") } else { String::new() }
}
