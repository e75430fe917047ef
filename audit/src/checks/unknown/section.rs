//! What the page shows of unknown images.

use super::figures::UnknownFigures;
use crate::checks::check::About;
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::sections::Material;
use crate::sections::words::{are, interval};
use crate::text::percent;
use crate::view::{Chart, Item, Section, Tone};
use dismax::error::Result;

/// Bins of the p-values' histogram.
const P_VALUE_BINS: usize = 20;

/// The section; none where the check did not look.
pub(super) fn section(about: &About, material: &mut Material<'_>) -> Result<Option<Section>> {
    let Some(figures) = material.figures().get::<UnknownFigures>() else { return Ok(None) };
    let found = figures.rejected;
    let share = figures.out_of_distribution.map(|share| {
        format!(
            " About {} of the rows ({}) are of unknown kinds, found or not.",
            percent(share.value),
            interval(&share)
        )
    });
    let summary = match (figures.tested, found) {
        (0, _) => "No row could be scored, so nothing can be said of unknown images.".to_owned(),
        (_, 0) => {
            format!("No image is clearly unlike those that the model was calibrated on.{}", share.unwrap_or_default())
        }
        _ => format!(
            "{} unlike those that the model was calibrated on; of these, {} are expected to be known after all.{}",
            are(found, "image"),
            percent(figures.fdr),
            share.unwrap_or_default()
        ),
    };
    let mut section = about.section(if found > 0 { Tone::Warn } else { Tone::Good }, summary);
    section.count = Some(found);
    if figures.tested > 0 {
        let mut counts = vec![0; P_VALUE_BINS];
        for prediction in material.evidence.collected.rows().filter_map(|row| row.prediction) {
            let bin = (prediction.p_value * P_VALUE_BINS as f64).ceil() as usize;
            if let Some(count) = counts.get_mut(bin.saturating_sub(1)) {
                *count += 1;
            }
        }
        let first = counts.first().copied().unwrap_or(0) as f64 / figures.tested as f64;
        section.charts.push(Chart {
            title: "P-values".into(),
            svg: dismax_charts::p_values(&counts),
            alt: format!(
                "Histogram of p-values. {} of the rows have one of at most 0.05; of rows like the calibration rows, 5 % would.",
                percent(first)
            ),
        });
    }
    material.show(&mut section, &[Kind::Unknown])?;
    if material.of(Kind::Unknown) == 0 {
        section.gallery = strangest(material)?;
        section.more = (!section.gallery.is_empty()).then(|| {
            format!(
                "Shown are the images that are least like the calibration rows. None of them is a finding: wherever the line were \
                 drawn, it could not be shown that at most {} of those beyond it are known images.",
                percent(figures.fdr)
            )
        });
    }
    Ok(Some(section))
}

/// The images with the lowest scores, where none is unknown: there is something to look at all the same.
fn strangest(material: &mut Material<'_>) -> Result<Vec<Item>> {
    let rows = material.evidence.collected.rows().enumerate();
    let mut rows: Vec<(f64, f32, u32)> = rows
        .filter_map(|(row, record)| {
            let prediction = record.prediction?;
            Some((prediction.p_value, prediction.score, row as u32))
        })
        .collect();
    let order =
        |a: &(f64, f32, u32), b: &(f64, f32, u32)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2));
    if material.top > 0 && rows.len() > material.top {
        rows.select_nth_unstable_by(material.top - 1, order);
    }
    rows.truncate(material.top);
    rows.sort_by(order);
    let finding = |(_, score, row): (f64, f32, u32)| Finding {
        row,
        kind: Kind::Unknown,
        severity: Severity::Low,
        score: -f64::from(score),
        related: None,
    };
    rows.into_iter().map(|row| material.example(&finding(row))).collect()
}
