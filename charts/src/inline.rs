//! Small charts that stand within the page of an audit. They have no background of their own, so that the page may be dark.

use plotters::prelude::*;

use super::{Area, BLUE, FONT, GREEN, GREY, LABEL, LINE, Mark, VERMILLION, fault, legend};
use dismax::error::Result;
use dismax::metrics::Reliability;

const SIZE: (u32, u32) = (560, 300);

/// A picture of the usual size without a background.
fn inline(draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&root)?;
        root.present().map_err(fault)?;
    }
    Ok(svg)
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

fn axes<'a, 'b>(area: &'b Area<'a>, axes: &Axes<'_>, y_label: &dyn Fn(&f64) -> String) -> Result<Chart<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(axes.x.clone(), 0.0..axes.top.max(f64::MIN_POSITIVE))
        .map_err(fault)?;
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
        .draw()
        .map_err(fault)?;
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

/// How p-values are distributed: the share of the rows in bins of equal width over [0, 1], and the height that all bins would have where
/// every row were like the calibration rows.
///
/// # Errors
/// [`dismax::Error::Internal`] if plotters cannot draw.
pub fn p_values(counts: &[u64]) -> Result<String> {
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
            chart.draw_series([Rectangle::new(corners, BLUE.mix(0.35).filled())]).map_err(fault)?;
            chart.draw_series([Rectangle::new(corners, BLUE.stroke_width(1))]).map_err(fault)?;
        }
        let line = DashedLineSeries::new([(0.0, width), (1.0, width)], 6, 4, GREY.stroke_width(2));
        chart.draw_series(line).map_err(fault)?;
        let entries = [
            (Mark::Box, BLUE, "these rows".to_owned()),
            (Mark::Dashes, GREY, "rows like the calibration rows".to_owned()),
        ];
        legend(&strip, 72, 150, entries.len(), &entries)
    })
}

/// A reliability diagram: the accuracy of each bin of confidence beside its mean confidence.
///
/// # Errors
/// [`dismax::Error::Internal`] if plotters cannot draw.
pub fn reliability_bins(bins: &Reliability) -> Result<String> {
    inline(|root| {
        let (plot, strip) = root.split_vertically(SIZE.1 - LINE);
        let limits = Axes { x: 0.0..1.0, top: 1.0, x_name: "confidence", y_name: "accuracy" };
        let mut chart = axes(&plot, &limits, &|value| short(*value))?;
        for bin in bins.bins.iter().filter(|bin| bin.count > 0) {
            let (left, right) = (f64::from(bin.lower), f64::from(bin.upper));
            let (colour, both) = match bin.accuracy < bin.confidence {
                true => (VERMILLION, bin.accuracy),
                false => (GREEN, bin.confidence),
            };
            let boxes =
                [(0.0, both, BLUE), (bin.accuracy.min(bin.confidence), bin.accuracy.max(bin.confidence), colour)];
            for (from, to, colour) in boxes {
                let corners = [(left, from), (right, to)];
                chart.draw_series([Rectangle::new(corners, colour.mix(0.35).filled())]).map_err(fault)?;
                chart.draw_series([Rectangle::new(corners, colour.stroke_width(1))]).map_err(fault)?;
            }
            let top = [(left, bin.accuracy), (right, bin.accuracy)];
            chart.draw_series([PathElement::new(top, BLUE.stroke_width(3))]).map_err(fault)?;
        }
        chart
            .draw_series(DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 6, 4, GREY.stroke_width(2)))
            .map_err(fault)?;
        let entries = [
            (Mark::Box, BLUE, "accuracy".to_owned()),
            (Mark::Box, VERMILLION, "too sure".to_owned()),
            (Mark::Box, GREEN, "too unsure".to_owned()),
        ];
        legend(&strip, 72, 130, entries.len(), &entries)
    })
}

/// Two distributions of a score over the same bins of equal width from `lower` to `upper`, in shares of their rows. `names` are those
/// of the audited rows and of the reference.
///
/// # Errors
/// [`dismax::Error::Internal`] if plotters cannot draw.
pub fn score_distributions(
    score: &str,
    range: std::ops::Range<f64>,
    counts: [&[u64]; 2],
    names: [&str; 2],
) -> Result<String> {
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
            chart.draw_series([Polygon::new(outline.clone(), colour.mix(0.2).filled())]).map_err(fault)?;
            chart.draw_series([PathElement::new(outline, colour.stroke_width(2))]).map_err(fault)?;
        }
        let entries: Vec<_> =
            names.iter().zip(colours).map(|(name, colour)| (Mark::Box, colour, (*name).to_owned())).collect();
        legend(&strip, 72, 200, entries.len(), &entries)
    })
}
