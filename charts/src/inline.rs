//! Small charts for the page of an audit. They have no background of their own, so that the page may be dark.

use plotters::prelude::*;

use crate::draw::{Area, BLUE, Drawing, FONT, GREEN, GREY, LABEL, LINE, Mark, VERMILLION, legend, transparent_picture};
use crate::reliability::Bin;

const SIZE: (u32, u32) = (560, 300);

fn inline(draw: impl FnOnce(&Area<'_>) -> Drawing) -> String {
    transparent_picture(SIZE, draw)
}

/// Axes over a range with two names.
struct Axes<'a> {
    x: std::ops::Range<f64>,
    top: f64,
    x_name: &'a str,
    y_name: &'a str,
}

type Chart<'a, 'b> = ChartContext<
    'b,
    SVGBackend<'a>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn axes<'a, 'b>(area: &'b Area<'a>, axes: &Axes<'_>, y_label: &dyn Fn(&f64) -> String) -> Drawing<Chart<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(axes.x.clone(), 0.0..axes.top.max(f64::MIN_POSITIVE))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(axes.x_name)
        .x_labels(6)
        .x_label_formatter(&|value| short(*value))
        .y_desc(axes.y_name)
        .y_labels(5)
        .y_label_formatter(y_label)
        .label_style((FONT, LABEL))
        .axis_desc_style((FONT, LABEL))
        .draw()?;
    Ok(chart)
}

fn short(value: f64) -> String {
    // Rounding may leave a minus before a zero.
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn percent(share: &f64) -> String {
    format!("{} %", short(100.0 * share))
}

/// Histogram of p-values: the share of rows in bins of equal width over [0, 1], and as a dashed line the height that
/// every bin would have if all rows were like the calibration rows. `counts` holds the rows of each bin.
pub fn p_values(counts: &[u64]) -> String {
    let rows = counts.iter().sum::<u64>().max(1) as f64;
    let width = 1.0 / counts.len().max(1) as f64;
    let most = counts.iter().map(|&count| count as f64 / rows).fold(width, f64::max);
    inline(|root| {
        let (plot, strip) = root.split_vertically(SIZE.1 - LINE);
        let limits = Axes { x: 0.0..1.0, top: 1.05 * most, x_name: "p-value", y_name: "rows" };
        let mut chart = axes(&plot, &limits, &percent)?;
        for (bin, &count) in counts.iter().enumerate() {
            let left = bin as f64 * width;
            let corners = [(left, 0.0), (left + width, count as f64 / rows)];
            chart.draw_series([Rectangle::new(corners, BLUE.mix(0.35).filled())])?;
            chart.draw_series([Rectangle::new(corners, BLUE.stroke_width(1))])?;
        }
        let line = DashedLineSeries::new([(0.0, width), (1.0, width)], 6, 4, GREY.stroke_width(2));
        chart.draw_series(line)?;
        let entries = [
            (Mark::Box, BLUE, "these rows".to_owned()),
            (Mark::Dashes, GREY, "rows like the calibration rows".to_owned()),
        ];
        legend(&strip, 72, 150, entries.len(), &entries)
    })
}

/// Reliability diagram: accuracy and mean confidence of each bin of confidence. Empty bins are not drawn.
pub fn reliability_bins(bins: &[Bin]) -> String {
    inline(|root| {
        let (plot, strip) = root.split_vertically(SIZE.1 - LINE);
        let limits = Axes { x: 0.0..1.0, top: 1.0, x_name: "confidence", y_name: "accuracy" };
        let mut chart = axes(&plot, &limits, &|value| short(*value))?;
        for bin in bins.iter().filter(|bin| bin.count > 0) {
            let (left, right) = (bin.lower, bin.upper);
            let (colour, both) = match bin.accuracy < bin.confidence {
                true => (VERMILLION, bin.accuracy),
                false => (GREEN, bin.confidence),
            };
            let boxes =
                [(0.0, both, BLUE), (bin.accuracy.min(bin.confidence), bin.accuracy.max(bin.confidence), colour)];
            for (from, to, colour) in boxes {
                let corners = [(left, from), (right, to)];
                chart.draw_series([Rectangle::new(corners, colour.mix(0.35).filled())])?;
                chart.draw_series([Rectangle::new(corners, colour.stroke_width(1))])?;
            }
            let top = [(left, bin.accuracy), (right, bin.accuracy)];
            chart.draw_series([PathElement::new(top, BLUE.stroke_width(3))])?;
        }
        chart.draw_series(DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 6, 4, GREY.stroke_width(2)))?;
        let entries = [
            (Mark::Box, BLUE, "accuracy".to_owned()),
            (Mark::Box, VERMILLION, "too sure".to_owned()),
            (Mark::Box, GREEN, "too unsure".to_owned()),
        ];
        legend(&strip, 72, 130, entries.len(), &entries)
    })
}

/// Two histograms of a score over the same bins of equal width in `range`, each in shares of its own rows: the audited
/// rows first, then the reference. `names` name the two in the legend.
pub fn score_distributions(score: &str, range: std::ops::Range<f64>, counts: [&[u64]; 2], names: [&str; 2]) -> String {
    let shares = counts.map(|counts| {
        let rows = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().map(|&count| count as f64 / rows).collect::<Vec<f64>>()
    });
    let most = shares.iter().flatten().copied().fold(0.01, f64::max);
    inline(|root| {
        let (plot, strip) = root.split_vertically(SIZE.1 - LINE);
        let limits = Axes { x: range.clone(), top: 1.05 * most, x_name: score, y_name: "rows" };
        let mut chart = axes(&plot, &limits, &percent)?;
        let colours = [VERMILLION, BLUE];
        for (shares, colour) in shares.iter().zip(colours).rev() {
            let width = (range.end - range.start) / shares.len().max(1) as f64;
            let mut outline = vec![(range.start, 0.0)];
            for (bin, &share) in shares.iter().enumerate() {
                let left = range.start + bin as f64 * width;
                outline.extend([(left, share), (left + width, share)]);
            }
            outline.push((range.end, 0.0));
            chart.draw_series([Polygon::new(outline.clone(), colour.mix(0.2).filled())])?;
            chart.draw_series([PathElement::new(outline, colour.stroke_width(2))])?;
        }
        let entries: Vec<_> =
            names.iter().zip(colours).map(|(name, colour)| (Mark::Box, colour, (*name).to_owned())).collect();
        legend(&strip, 72, 200, entries.len(), &entries)
    })
}
