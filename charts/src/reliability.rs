//! The reliability diagram.

use plotters::prelude::*;

use crate::draw::{
    Area, BLUE, Drawing, FONT, GREEN, GREY, LABEL, LINE, Mark, TITLE, VERMILLION, legend, percent, picture,
};

const SIZE: (u32, u32) = (900, 590);
/// Height of the diagrams with their captions; the histograms of confidences lie below.
const DIAGRAM: u32 = 400;
const Y_LABELS: u32 = 56;

/// A bin of confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Lower edge, in [0, 1].
    pub lower: f64,
    /// Upper edge, in [0, 1].
    pub upper: f64,
    /// Rows in the bin.
    pub count: u64,
    /// Mean confidence of its rows, in [0, 1].
    pub confidence: f64,
    /// Share of its rows that were classified correctly, in [0, 1].
    pub accuracy: f64,
}

/// One of the two panels of [`reliability`].
#[derive(Debug, Clone, Copy)]
pub struct ReliabilityPanel<'a> {
    /// What its confidences are from, for the caption: `Temperature 1`.
    pub name: &'a str,
    /// Expected calibration error, in [0, 1].
    pub ece: f64,
    /// Bins in ascending order.
    pub bins: &'a [Bin],
}

/// Reliability diagrams, usually before and after a temperature was fitted. Each panel shows the accuracy in each bin
/// of confidence, how far the bin's mean confidence is above or below it, the diagonal of perfect calibration, the ECE
/// in the caption, and below the share of rows in each bin.
pub fn reliability(panels: [ReliabilityPanel<'_>; 2]) -> String {
    // One scale, so that the panels can be compared.
    let most = panels.iter().map(|panel| largest_share(panel.bins)).fold(0.01, f64::max);
    picture(SIZE, |root| {
        let (upper, strip) = root.split_vertically(SIZE.1 - LINE - 10);
        let (left, right) = upper.split_horizontally(SIZE.0 / 2);
        for (area, panel) in [left, right].iter().zip(&panels) {
            draw_panel(area, panel, most)?;
        }
        let entries = [
            (Mark::Box, BLUE, "accuracy".to_owned()),
            (Mark::Box, VERMILLION, "confidence above accuracy".to_owned()),
            (Mark::Box, GREEN, "accuracy above confidence".to_owned()),
            (Mark::Dashes, GREY, "perfect calibration".to_owned()),
        ];
        legend(&strip, 66, 216, entries.len(), &entries)
    })
}

fn draw_panel(area: &Area<'_>, panel: &ReliabilityPanel<'_>, most: f64) -> Drawing {
    let (diagram, histogram) = area.split_vertically(DIAGRAM);
    let mut chart = ChartBuilder::on(&diagram)
        .caption(format!("{}: ECE {:.4}", panel.name, panel.ece), (FONT, TITLE))
        .margin(10)
        .x_label_area_size(4)
        .y_label_area_size(Y_LABELS)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
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
        .draw()?;
    let used = || panel.bins.iter().filter(|bin| bin.count > 0);
    for bin in used() {
        let (colour, both) = match bin.accuracy < bin.confidence {
            true => (VERMILLION, bin.accuracy),
            false => (GREEN, bin.confidence),
        };
        chart.draw_series(box_of(bin, 0.0, both, BLUE))?;
        chart.draw_series(box_of(bin, bin.accuracy, bin.confidence, colour))?;
        // The top of the accuracy, whichever colour ends there.
        let top = [(bin.lower, bin.accuracy), (bin.upper, bin.accuracy)];
        chart.draw_series([PathElement::new(top, BLUE.stroke_width(3))])?;
    }
    chart.draw_series(DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 6, 4, GREY.stroke_width(2)))?;

    let mut chart = ChartBuilder::on(&histogram)
        .margin_left(10)
        .margin_right(10)
        .margin_bottom(6)
        .x_label_area_size(40)
        .y_label_area_size(Y_LABELS)
        .build_cartesian_2d(0.0..1.0, 0.0..most)?;
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
        .draw()?;
    let rows = rows(panel.bins);
    chart.draw_series(used().flat_map(|bin| box_of(bin, 0.0, bin.count as f64 / rows, GREY)))?;
    Ok(())
}

/// A bin's column between two heights: filled, with an outline.
fn box_of(bin: &Bin, from: f64, to: f64, colour: RGBColor) -> [Rectangle<(f64, f64)>; 2] {
    let corners = [(bin.lower, from.min(to)), (bin.upper, from.max(to))];
    [Rectangle::new(corners, colour.mix(0.35).filled()), Rectangle::new(corners, colour.stroke_width(1))]
}

/// Rows of all bins together, at least 1.
fn rows(bins: &[Bin]) -> f64 {
    bins.iter().map(|bin| bin.count).sum::<u64>().max(1) as f64
}

fn largest_share(bins: &[Bin]) -> f64 {
    bins.iter().map(|bin| bin.count as f64 / rows(bins)).fold(0.0, f64::max)
}
