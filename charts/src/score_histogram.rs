//! The histogram of OOD scores.

use plotters::prelude::*;

use super::{Area, BLUE, FONT, LABEL, LINE, Mark, TITLE, VERMILLION, fault, legend, percent, picture, plain};
use dismax::error::Result;
use dismax::evaluate::{Evaluation, Flagged, ScoreHistogram};

const WIDTH: u32 = 900;
const HEADER: u32 = 28;
/// Height of a panel: the only one, or one of several.
const PANEL: [u32; 2] = [340, 190];

/// Histograms of the `ood_score` of an evaluation: a panel for each OOD set, with the test set beside it in the same scale and
/// the model's threshold. Each set is drawn in shares of its own rows; the captions say what share is flagged.
///
/// # Errors
/// [`dismax::Error::Internal`] if plotters cannot draw.
pub fn score_histogram(evaluation: &Evaluation) -> Result<String> {
    let histogram = &evaluation.ood_score_histogram;
    let test = shares(&histogram.in_dist);
    let panels: Vec<(Option<String>, Vec<f64>)> = match evaluation.ood.is_empty() {
        true => vec![(None, Vec::new())],
        false => {
            let sets = evaluation.ood.iter().zip(&histogram.ood);
            sets.map(|(set, counts)| (Some(caption(&set.name, set.scored, &set.flagged)), shares(counts))).collect()
        }
    };
    let threshold = evaluation.ood_score_threshold.filter(|value| value.abs() < f32::MAX);
    let in_dist = &evaluation.in_dist;
    let mut entries = vec![(Mark::Box, BLUE, caption("in-distribution test set", in_dist.scored, &in_dist.flagged))];
    if !evaluation.ood.is_empty() {
        entries.push((Mark::Box, VERMILLION, "out-of-distribution set named above the panel".to_owned()));
    }
    if let Some(value) = threshold {
        entries.push((Mark::Dashes, BLACK, format!("threshold {value:.4}: rows from here on are flagged")));
    }
    let height = PANEL[usize::from(panels.len() > 1)];
    let most = panels.iter().flat_map(|(_, shares)| shares).chain(&test).copied().fold(0.01, f64::max);
    let plots = HEADER + height * panels.len() as u32;
    let size = (WIDTH, plots + LINE * entries.len() as u32 + 12);
    picture(size, |root| {
        let (top, strip) = root.split_vertically(plots);
        let title =
            format!("ood_score (minus {}; higher is more out-of-distribution)", evaluation.score.name().to_uppercase());
        let area = top.margin(4, 0, 0, 0).titled(&title, (FONT, TITLE)).map_err(fault)?;
        for (area, (name, shares)) in area.split_evenly((panels.len(), 1)).iter().zip(&panels) {
            let range = 0.0..1.05 * most;
            panel(area, name.as_deref(), histogram, [(&test, BLUE), (shares, VERMILLION)], range, threshold)?;
        }
        legend(&strip, 80, 0, 1, &entries)
    })
}

fn caption(name: &str, rows: u64, flagged: &Flagged) -> String {
    format!("{}: {rows} rows, {} flagged", plain(name), percent(flagged.share))
}

fn panel(
    area: &Area<'_>,
    caption: Option<&str>,
    histogram: &ScoreHistogram,
    sets: [(&Vec<f64>, RGBColor); 2],
    heights: std::ops::Range<f64>,
    threshold: Option<f32>,
) -> Result<()> {
    let top = heights.end;
    let mut builder = ChartBuilder::on(area);
    if let Some(caption) = caption {
        builder.caption(caption, (FONT, LABEL));
    }
    let mut chart = builder
        .margin(8)
        .margin_right(16)
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(f64::from(histogram.lower)..f64::from(histogram.upper), heights)
        .map_err(fault)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(9)
        .y_labels(4)
        .y_desc("share of rows")
        .y_label_formatter(&|share| percent(*share).replace(".0 %", " %"))
        .label_style((FONT, LABEL))
        .axis_desc_style((FONT, LABEL))
        .draw()
        .map_err(fault)?;
    for (shares, colour) in sets.into_iter().filter(|(shares, _)| !shares.is_empty()) {
        let outline = outline(histogram, shares);
        chart.draw_series([Polygon::new(outline.clone(), colour.mix(0.2).filled())]).map_err(fault)?;
        chart.draw_series([PathElement::new(outline, colour.stroke_width(2))]).map_err(fault)?;
    }
    if let Some(threshold) = threshold.map(f64::from) {
        let line = DashedLineSeries::new([(threshold, 0.0), (threshold, top)], 6, 4, BLACK.stroke_width(2));
        chart.draw_series(line).map_err(fault)?;
    }
    Ok(())
}

/// Steps along the tops of the bins, from the axis to the axis.
fn outline(histogram: &ScoreHistogram, shares: &[f64]) -> Vec<(f64, f64)> {
    let mut points = Vec::with_capacity(2 * shares.len() + 2);
    points.push((f64::from(histogram.lower), 0.0));
    for (bin, &share) in shares.iter().enumerate() {
        let (lower, upper) = histogram.edges(bin);
        points.extend([(lower, share), (upper, share)]);
    }
    points.push((f64::from(histogram.upper), 0.0));
    points
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let rows = counts.iter().sum::<u64>().max(1) as f64;
    counts.iter().map(|&count| count as f64 / rows).collect()
}
