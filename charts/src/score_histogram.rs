//! The histogram of OOD scores.

use plotters::prelude::*;

use crate::draw::{Area, BLUE, Drawing, FONT, LABEL, LINE, Mark, TITLE, VERMILLION, legend, percent, picture, plain};

const WIDTH: u32 = 900;
const HEADER: u32 = 28;
/// Height of a panel: the only one, or one of several.
const PANEL: [u32; 2] = [340, 190];

/// The scores of one set of rows.
#[derive(Debug, Clone, Copy)]
pub struct ScoreSet<'a> {
    /// Its name; only the last 80 characters are shown.
    pub name: &'a str,
    /// Rows that were scored.
    pub rows: u64,
    /// Share of these rows that the model flags, in [0, 1].
    pub flagged: f64,
    /// Rows in each bin.
    pub counts: &'a [u64],
}

/// What [`score_histogram`] draws: sets of scores, counted in the same bins of equal width.
#[derive(Debug, Clone)]
pub struct ScoreHistogram<'a> {
    /// What the scores are, as the title says it.
    pub score: &'a str,
    /// Lower edge of the first bin.
    pub lower: f64,
    /// Upper edge of the last bin, above `lower`.
    pub upper: f64,
    /// Rows from this score on are flagged.
    pub threshold: Option<f64>,
    /// The in-distribution test set.
    pub in_dist: ScoreSet<'a>,
    /// Out-of-distribution sets; there may be none.
    pub ood: Vec<ScoreSet<'a>>,
}

/// Histograms of out-of-distribution scores: a panel for each OOD set, which shows the test set in the same scale and
/// the model's threshold. Each set is drawn in shares of its own rows; the captions say what share is flagged.
pub fn score_histogram(histogram: &ScoreHistogram<'_>) -> String {
    let test = shares(histogram.in_dist.counts);
    let panels: Vec<(Option<String>, Vec<f64>)> = match histogram.ood.is_empty() {
        true => vec![(None, Vec::new())],
        false => histogram.ood.iter().map(|set| (Some(caption(set)), shares(set.counts))).collect(),
    };
    let mut entries = vec![(Mark::Box, BLUE, caption(&histogram.in_dist))];
    if !histogram.ood.is_empty() {
        entries.push((Mark::Box, VERMILLION, "out-of-distribution set named above the panel".to_owned()));
    }
    if let Some(value) = histogram.threshold {
        entries.push((Mark::Dashes, BLACK, format!("threshold {value:.4}: rows from here on are flagged")));
    }
    let height = PANEL[usize::from(panels.len() > 1)];
    let most = panels.iter().flat_map(|(_, shares)| shares).chain(&test).copied().fold(0.01, f64::max);
    let plots = HEADER + height * panels.len() as u32;
    let size = (WIDTH, plots + LINE * entries.len() as u32 + 12);
    picture(size, |root| {
        let (top, strip) = root.split_vertically(plots);
        let area = top.margin(4, 0, 0, 0).titled(histogram.score, (FONT, TITLE))?;
        for (area, (name, shares)) in area.split_evenly((panels.len(), 1)).iter().zip(&panels) {
            let range = 0.0..1.05 * most;
            panel(area, name.as_deref(), histogram, [(&test, BLUE), (shares, VERMILLION)], range)?;
        }
        legend(&strip, 80, 0, 1, &entries)
    })
}

fn caption(set: &ScoreSet<'_>) -> String {
    format!("{}: {} rows, {} flagged", plain(set.name), set.rows, percent(set.flagged))
}

fn panel(
    area: &Area<'_>,
    caption: Option<&str>,
    histogram: &ScoreHistogram<'_>,
    sets: [(&Vec<f64>, RGBColor); 2],
    heights: std::ops::Range<f64>,
) -> Drawing {
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
        .build_cartesian_2d(histogram.lower..histogram.upper, heights)?;
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
        .draw()?;
    for (shares, colour) in sets.into_iter().filter(|(shares, _)| !shares.is_empty()) {
        let outline = outline(histogram, shares);
        chart.draw_series([Polygon::new(outline.clone(), colour.mix(0.2).filled())])?;
        chart.draw_series([PathElement::new(outline, colour.stroke_width(2))])?;
    }
    if let Some(threshold) = histogram.threshold {
        let line = DashedLineSeries::new([(threshold, 0.0), (threshold, top)], 6, 4, BLACK.stroke_width(2));
        chart.draw_series(line)?;
    }
    Ok(())
}

/// Steps along the tops of the bins, from the axis to the axis.
fn outline(histogram: &ScoreHistogram<'_>, shares: &[f64]) -> Vec<(f64, f64)> {
    let width = (histogram.upper - histogram.lower) / shares.len().max(1) as f64;
    let mut points = Vec::with_capacity(2 * shares.len() + 2);
    points.push((histogram.lower, 0.0));
    for (bin, &share) in shares.iter().enumerate() {
        let left = histogram.lower + bin as f64 * width;
        points.extend([(left, share), (left + width, share)]);
    }
    points.push((histogram.upper, 0.0));
    points
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let rows = counts.iter().sum::<u64>().max(1) as f64;
    counts.iter().map(|&count| count as f64 / rows).collect()
}
