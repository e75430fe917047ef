//! The reliability diagram.

use plotters::prelude::*;

use super::{Area, BLUE, FONT, GREEN, GREY, LABEL, LINE, Mark, TITLE, VERMILLION, fault, legend, percent, picture};
use dismax::error::Result;
use dismax::evaluate::Evaluation;
use dismax::metrics::{Reliability, ReliabilityBin};

const SIZE: (u32, u32) = (900, 590);
/// Height of the diagrams with their captions; the histograms of confidences lie below.
const DIAGRAM: u32 = 400;
const Y_LABELS: u32 = 56;

/// Reliability diagram of an evaluation's test set, before and after the temperature: bars of the accuracy in each bin of
/// confidence, how far the bin's mean confidence lies above or below it, the diagonal of perfect calibration, the ECE in the caption,
/// and below how many rows each bin has.
///
/// # Errors
/// [`dismax::Error::Internal`] if plotters cannot draw.
pub fn reliability(evaluation: &Evaluation) -> Result<String> {
    let test = &evaluation.in_dist;
    let before = format!("Temperature 1: ECE {:.4}", test.before.ece);
    let after = format!("Temperature {:.3}: ECE {:.4}", evaluation.temperature, test.after.ece);
    // One scale, so that the panels can be compared.
    let most = [&test.reliability_before, &test.reliability_after].into_iter().map(largest_share).fold(0.0, f64::max);
    picture(SIZE, |root| {
        let (panels, strip) = root.split_vertically(SIZE.1 - LINE - 10);
        let (left, right) = panels.split_horizontally(SIZE.0 / 2);
        panel(&left, &before, &test.reliability_before, most)?;
        panel(&right, &after, &test.reliability_after, most)?;
        let entries = [
            (Mark::Box, BLUE, "accuracy".to_owned()),
            (Mark::Box, VERMILLION, "confidence above accuracy".to_owned()),
            (Mark::Box, GREEN, "accuracy above confidence".to_owned()),
            (Mark::Dashes, GREY, "perfect calibration".to_owned()),
        ];
        legend(&strip, 66, 216, entries.len(), &entries)
    })
}

fn panel(area: &Area<'_>, caption: &str, bins: &Reliability, most: f64) -> Result<()> {
    let (diagram, histogram) = area.split_vertically(DIAGRAM);
    let mut chart = ChartBuilder::on(&diagram)
        .caption(caption, (FONT, TITLE))
        .margin(10)
        .x_label_area_size(4)
        .y_label_area_size(Y_LABELS)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)
        .map_err(fault)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(0)
        .y_desc("accuracy")
        .y_labels(6)
        .y_label_formatter(&|value| format!("{value:.1}"))
        .label_style((FONT, LABEL))
        .axis_desc_style((FONT, LABEL))
        .draw()
        .map_err(fault)?;
    let used = || bins.bins.iter().filter(|bin| bin.count > 0);
    for bin in used() {
        let (colour, both) = match bin.accuracy < bin.confidence {
            true => (VERMILLION, bin.accuracy),
            false => (GREEN, bin.confidence),
        };
        chart.draw_series(box_of(bin, 0.0, both, BLUE)).map_err(fault)?;
        chart.draw_series(box_of(bin, bin.accuracy, bin.confidence, colour)).map_err(fault)?;
        // The top of the accuracy, whichever colour ends there.
        let top = [(f64::from(bin.lower), bin.accuracy), (f64::from(bin.upper), bin.accuracy)];
        chart.draw_series([PathElement::new(top, BLUE.stroke_width(3))]).map_err(fault)?;
    }
    chart.draw_series(DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 6, 4, GREY.stroke_width(2))).map_err(fault)?;

    let mut chart = ChartBuilder::on(&histogram)
        .margin_left(10)
        .margin_right(10)
        .margin_bottom(6)
        .x_label_area_size(40)
        .y_label_area_size(Y_LABELS)
        .build_cartesian_2d(0.0..1.0, 0.0..most)
        .map_err(fault)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_desc("confidence")
        .x_labels(6)
        .x_label_formatter(&|value| format!("{value:.1}"))
        .y_desc("rows")
        .y_labels(3)
        .y_label_formatter(&|share| percent(*share).replace(".0 %", " %"))
        .label_style((FONT, LABEL))
        .axis_desc_style((FONT, LABEL))
        .draw()
        .map_err(fault)?;
    let rows = bins.rows.max(1) as f64;
    chart.draw_series(used().flat_map(|bin| box_of(bin, 0.0, bin.count as f64 / rows, GREY))).map_err(fault)?;
    Ok(())
}

/// A bin's column between two heights: filled, with an outline.
fn box_of(bin: &ReliabilityBin, from: f64, to: f64, colour: RGBColor) -> [Rectangle<(f64, f64)>; 2] {
    let corners = [(f64::from(bin.lower), from.min(to)), (f64::from(bin.upper), from.max(to))];
    [Rectangle::new(corners, colour.mix(0.35).filled()), Rectangle::new(corners, colour.stroke_width(1))]
}

fn largest_share(bins: &Reliability) -> f64 {
    let most = bins.bins.iter().map(|bin| bin.count).max().unwrap_or(0);
    (most as f64 / bins.rows.max(1) as f64).max(0.01)
}
