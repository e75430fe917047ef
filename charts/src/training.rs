//! The curve of a training.

use plotters::prelude::*;

use crate::draw::{Area, BLUE, Drawing, FONT, LABEL, LINE, Mark, TITLE, VERMILLION, legend, picture};

const SIZE: (u32, u32) = (900, 640);
/// Height of the first row of panels.
const UPPER: u32 = 350;
const SERIES: [(&str, RGBColor); 2] = [("training rows", BLUE), ("held-out rows", VERMILLION)];
/// Largest number of epochs of which each is marked by a dot.
const MAX_DOTS: usize = 40;

/// One epoch of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Mean negative log-likelihood of the training rows, in nats at temperature 1.
    pub train_nll: f64,
    /// The same of the held-out rows.
    pub validation_nll: f64,
    /// Share of the training rows that were classified correctly, in [0, 1].
    pub train_accuracy: f64,
    /// The same of the held-out rows.
    pub validation_accuracy: f64,
    /// Training images per second.
    pub images_per_second: f64,
}

/// Learning curves: negative log-likelihood (nats, temperature 1) and accuracy (%), each for the training rows and
/// the held-out rows, below them the learning rate and the training images per second. Values that
/// are not finite are left out.
pub fn training(epochs: &[Epoch]) -> String {
    let nll = |epoch: &Epoch| [epoch.train_nll, epoch.validation_nll];
    let accuracy = |epoch: &Epoch| [100.0 * epoch.train_accuracy, 100.0 * epoch.validation_accuracy];
    picture(SIZE, |root| {
        let (panels, lower) = root.split_vertically(UPPER);
        let (strip, lower) = lower.split_vertically(LINE + 8);
        let (left, right) = panels.split_horizontally(SIZE.0 / 2);
        panel(&left, epochs, "Negative log-likelihood (nats)", nll)?;
        panel(&right, epochs, "Accuracy (%)", accuracy)?;
        let (left, right) = lower.split_horizontally(SIZE.0 / 2);
        panel(&left, epochs, "Learning rate", |epoch| [epoch.learning_rate])?;
        panel(&right, epochs, "Training images per second", |epoch| [epoch.images_per_second])?;
        let entries = SERIES.map(|(name, colour)| (Mark::Line, colour, name.to_owned()));
        legend(&strip, 290, 180, SERIES.len(), &entries)
    })
}

fn panel<const N: usize>(
    area: &Area<'_>,
    epochs: &[Epoch],
    title: &str,
    values: impl Fn(&Epoch) -> [f64; N],
) -> Drawing {
    let (low, high) = range(epochs.iter().flat_map(&values));
    let last = epochs.iter().map(|epoch| epoch.number).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, TITLE))
        .margin(10)
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(48)
        // A little room on both sides, so that the first and the last dot are whole.
        .build_cartesian_2d(1.0 - 0.02 * last as f64..1.02 * last as f64, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_desc("epoch")
        .x_labels(last.min(10))
        .x_label_formatter(&|epoch| whole(*epoch))
        .y_labels(8)
        .y_label_formatter(&|value| short(*value))
        .label_style((FONT, LABEL))
        .axis_desc_style((FONT, LABEL))
        .draw()?;
    for (series, (_, colour)) in SERIES.into_iter().enumerate().take(N) {
        let points = epochs.iter().map(|epoch| (epoch.number as f64, values(epoch)[series]));
        let points: Vec<(f64, f64)> = points.filter(|point| point.1.is_finite()).collect();
        if epochs.len() <= MAX_DOTS {
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        }
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
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
