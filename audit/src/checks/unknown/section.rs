//! What the page shows of unknown images.

use super::figures::{REVIEW_Q_VALUE, Strangest, UnknownFigures};
use super::strangeness::Strangeness;
use crate::checks::check::About;
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::novelty::UnknownMethod;
use crate::sections::Material;
use crate::sections::words::{are, interval, number};
use crate::text::{count, counted, percent};
use crate::view::{Cell, Chart, Item, Section, Table, Tone};
use dismax::error::Result;

/// The number of strangest images of which the first sentence speaks.
const SPOKEN_OF: u64 = 50;

/// The section; none where the check did not look.
pub(super) fn section(about: &About, material: &mut Material<'_>) -> Result<Option<Section>> {
    let Some(figures) = material.figures().get::<UnknownFigures>() else { return Ok(None) };
    let all = material.of(Kind::Unknown);
    let tone = if all > 0 || figures.has_drifted { Tone::Warn } else { Tone::Good };
    let mut section = about.section(tone, summary(figures));
    section.more = more(figures);
    section.count = Some(all);
    if let Some(strangeness) = material.figures().get::<Strangeness>().filter(|_| figures.tested > 0) {
        section.charts.push(histogram(strangeness, figures.tested));
    }
    if !figures.strangest.is_empty() {
        section.tables.push(table(&figures.strangest));
    }
    material.show(&mut section, &[Kind::Unknown])?;
    if all == 0 {
        section.gallery = strangest(material)?;
        section.footnote = (!section.gallery.is_empty()).then(|| {
            format!(
                "Shown are the strangest images. None of them is a finding: wherever the line were drawn, it could not be shown that \
                 at most {} of those beyond it are known images.",
                percent(figures.fdr)
            )
        });
    }
    Ok(Some(section))
}

fn summary(figures: &UnknownFigures) -> String {
    if figures.tested == 0 {
        return "No image could be tested, so nothing can be said of unknown ones.".to_owned();
    }
    let mut sentences = Vec::new();
    if figures.has_drifted {
        let share = figures.by_learnt_score.map_or(1.0, |share| share.value);
        sentences.push(format!(
            "About {} of the images differ from those that the model was calibrated on, most of them in what the model does not take for \
             unknown, as after another encoding, light or camera, so that how many are of unknown kinds cannot be told.",
            percent(share)
        ));
    }
    sentences.push(match figures.rejected {
        0 => "No image is clearly unlike those that the model was calibrated on.".to_owned(),
        rejected => format!(
            "{} unlike those that the model was calibrated on; of these, {} are expected to be known after all.",
            are(rejected, "image"),
            percent(figures.fdr)
        ),
    });
    if figures.review > 0 {
        sentences.push(format!(
            "{} more {} listed for review: of all that are listed, {} are expected to be known.",
            count(figures.review),
            if figures.review == 1 { "is" } else { "are" },
            percent(REVIEW_Q_VALUE.max(figures.fdr))
        ));
    }
    sentences.extend(figures.out_of_distribution.map(|share| {
        let certain = figures.at_least.filter(|at_least| *at_least > 0);
        let certain =
            certain.map(|at_least| format!("; with 95 % confidence, at least {}", counted(at_least, "image")));
        format!(
            "About {} of the images ({}) are of unknown kinds, found or not{}.",
            percent(share.value),
            interval(&share),
            certain.unwrap_or_default()
        )
    }));
    sentences.join(" ")
}

/// What else there is to say.
fn more(figures: &UnknownFigures) -> Vec<String> {
    if figures.tested == 0 {
        return Vec::new();
    }
    let mut sentences = Vec::new();
    if figures.has_drifted {
        sentences.push("P-values are not exact where a dataset as a whole differs.".to_owned());
    }
    let spoken_of = figures.strangest.iter().rev().find(|some| some.images <= SPOKEN_OF);
    sentences.extend(spoken_of.filter(|some| some.estimated >= 1.0).map(worth));
    let reviewed = figures.marked_unknown + figures.marked_known;
    if reviewed > 0 {
        sentences.push(format!(
            "{} reviewed and not under test: {} marked as unknown, which are findings, and {} as known.",
            are(reviewed, "image"),
            count(figures.marked_unknown),
            count(figures.marked_known)
        ));
    }
    if figures.blank > 0 {
        sentences.push(format!(
            "{} black, white or of one tone and not under test: see the section on files.",
            are(figures.blank, "image")
        ));
    }
    sentences.push(reach(figures));
    sentences.push(format!(
        "At least {} must stand out from every calibration image for any to be found at this rate.",
        counted(figures.needed.max(1), "unknown image")
    ));
    sentences
}

/// "Of the 50 strangest images about 41 are of unknown kinds, and at least 28 with 95 % confidence."
fn worth(some: &Strangest) -> String {
    let about = some.estimated.round() as u64;
    let bound = match some.at_least {
        0 => "but this is no more than a guess: with 95 % confidence it may be none".to_owned(),
        at_least => format!("and at least {} with 95 % confidence", count(at_least)),
    };
    format!(
        "Of the {} strangest images about {} {} unknown, {bound}.",
        count(some.images),
        count(about),
        if about == 1 { "is" } else { "are" }
    )
}

/// What the method can find and what not.
fn reach(figures: &UnknownFigures) -> String {
    match figures.method {
        UnknownMethod::Adadetect if figures.known_unknown > 0 => format!(
            "The score was learnt from {} and from these images; unknown images of other kinds are found as without.",
            counted(figures.known_unknown, "known unknown image")
        ),
        UnknownMethod::Adadetect => "The score was learnt from these images: it finds groups of images from another source, from about \
                                     150 of a kind on; single odd images, and a class that came through the same camera and encoding, \
                                     it hardly finds."
            .into(),
        UnknownMethod::Fused => {
            "Judged by the model's score and how usual colours, contrasts and textures are.".into()
        }
        UnknownMethod::Score => "Judged by the model's score alone.".into(),
    }
}

fn table(strangest: &[Strangest]) -> Table {
    let columns = [("Strangest images", true), ("Unknown by estimate", true), ("At least, 95 %", true)];
    let mut table = Table::new("What the strangest images are worth", &columns);
    table.rows.extend(strangest.iter().map(|some| {
        let estimated = Cell::number(count(some.estimated.round() as u64), some.estimated);
        vec![number(some.images), estimated, number(some.at_least)]
    }));
    table
}

fn histogram(strangeness: &Strangeness, tested: u64) -> Chart {
    let first = strangeness.p_values.first().copied().unwrap_or(0) as f64 / tested as f64;
    Chart {
        title: "P-values".into(),
        svg: dismax_charts::p_values(&strangeness.p_values),
        alt: format!(
            "Histogram of p-values. {} of the images have one of at most 0.05; of images like the calibration images, 5 % would.",
            percent(first)
        ),
    }
}

/// The strangest images, where none is unknown: there is something to look at all the same.
fn strangest(material: &mut Material<'_>) -> Result<Vec<Item>> {
    let Some(strangeness) = material.figures().get::<Strangeness>() else { return Ok(Vec::new()) };
    let rows = material.evidence.collected.rows().enumerate();
    let mut rows: Vec<(f32, f32, u32)> = rows
        .filter_map(|(row, record)| Some((strangeness.score(record.image)?, record.prediction?.score, row as u32)))
        .collect();
    let order =
        |a: &(f32, f32, u32), b: &(f32, f32, u32)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2));
    if material.top > 0 && rows.len() > material.top {
        rows.select_nth_unstable_by(material.top - 1, order);
    }
    rows.truncate(material.top);
    rows.sort_by(order);
    let finding = |(_, score, row): (f32, f32, u32)| Finding {
        row,
        kind: Kind::Unknown,
        severity: Severity::Low,
        score: -f64::from(score),
        related: None,
    };
    rows.into_iter().map(|row| material.example(&finding(row))).collect()
}
