//! Images that are there twice, or in the reference too.

use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::rows::looks;
use crate::collect::Collected;
use crate::duplicates::{self, Digests, DuplicateFigures};
use crate::evidence::{Description, Evidence, quoted};
use crate::findings::{Finding, Related};
use crate::kind::{Kind, Severity};
use crate::pictures::Pictures;
use crate::sections::Material;
use crate::sections::words::{are, repeats};
use crate::text::{count, counted, shown};
use crate::thumbnails::Thumbnails;
use crate::view::{Section, Tile, Tone};
use dismax::cancel::Cancel;
use dismax::error::Result;

/// The check.
pub(super) struct Duplicates;

const ABOUT: About = About {
    id: "duplicates",
    title: "Duplicates",
    question: "Which images are there more than once, or in the reference too?",
    how: "Exact duplicates by SHA-256. Near duplicates by a perceptual hash (pHash, 120 bits), found by multi-index \
          hashing (Norouzi et al. 2012) and checked on small pictures; images of one tone, and with fewer than 16 pixels \
          a side, are left out.",
    needs: &[],
    kinds: &[Kind::ExactDuplicate, Kind::NearDuplicate, Kind::Leaked, Kind::LeakedNear],
};

impl Check for Duplicates {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let (collected, cancel, findings) = (inputs.collected, inputs.cancel, &mut found.findings);
        let images: Vec<_> = images(collected).collect();
        let distinct = duplicates::distinct(images);
        found.looked_for.extend([Kind::ExactDuplicate, Kind::NearDuplicate]);
        within(collected, &distinct, inputs.thumbnails, findings, cancel)?;
        let reference = inputs.reference.zip(inputs.reference_thumbnails.as_deref_mut());
        let reference_images = match reference {
            Some((reference, of_reference)) => {
                found.looked_for.extend([Kind::Leaked, Kind::LeakedNear]);
                let first = distinct.first.iter().copied();
                leaks((collected, &mut *inputs.thumbnails), first, (reference, of_reference), findings, cancel)?;
                Some(looks(reference).count() as u64)
            }
            None => None,
        };
        let mut repeated: Vec<u32> = distinct.copies.iter().map(|copy| copy.first).collect();
        repeated.sort_unstable();
        repeated.dedup();
        found.figures.insert(DuplicateFigures {
            images: looks(collected).count() as u64,
            distinct: distinct.first.len() as u64,
            repeated: repeated.len() as u64,
            reference_images,
        });
        Ok(())
    }

    fn describe(&self, finding: &Finding, evidence: &Evidence<'_>) -> Description {
        let (file, number) = evidence.related(finding).expect("a pair has two rows");
        let (other, score) = (format!("row {number} of {}", shown(file)), finding.score);
        let sentence = match finding.kind {
            Kind::ExactDuplicate => {
                let (rows, labels) = (counted(score as u64, "row"), other_label(finding, evidence));
                format!("Byte for byte the image of {other}; {rows} hold it.{labels}")
            }
            Kind::NearDuplicate => {
                let labels = other_label(finding, evidence);
                format!("Nearly the image of {other}: the perceptual hashes differ in {score} of 120 bits.{labels}")
            }
            Kind::Leaked => {
                format!("Byte for byte the image of {other} in the reference, where {} it.", holds(score as u64))
            }
            _ => format!(
                "Nearly the image of {other} in the reference: the perceptual hashes differ in {score} of 120 bits."
            ),
        };
        Description::new(finding.kind, sentence)
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<DuplicateFigures>() else { return Ok(None) };
        let [exact, near, leaked, leaked_near] =
            [Kind::ExactDuplicate, Kind::NearDuplicate, Kind::Leaked, Kind::LeakedNear].map(|kind| material.of(kind));
        let mut text =
            format!("{} an earlier one byte for byte, {} nearly.", repeats(exact, "row"), repeats(near, "row"));
        text.push_str(&match figures.reference_images {
            Some(images) => format!(
                " {} in the reference byte for byte and {} nearly ({} of it compared): the two are not independent \
                 where there are any.",
                are(leaked, "row"),
                count(leaked_near),
                counted(images, "row")
            ),
            None => " Without a reference dataset, leaks between datasets are not looked for.".to_owned(),
        });
        let tone = match (leaked + leaked_near, exact + near) {
            (0, 0) => Tone::Good,
            (0, _) => Tone::Warn,
            _ => Tone::Bad,
        };
        let mut section = ABOUT.section(tone, text);
        section.count = Some(exact + near + leaked + leaked_near);
        material.show(&mut section, ABOUT.kinds)?;
        Ok(Some(section))
    }

    fn tiles(&self, material: &Material<'_>) -> Vec<Tile> {
        let Some(figures) = material.figures().get::<DuplicateFigures>() else { return Vec::new() };
        let tile = |name: &str, exact: Kind, near: Kind, found: Tone| {
            let (exact, near) = (material.of(exact), material.of(near));
            let tone = if exact + near > 0 { found } else { Tone::Good };
            Tile::new(name, count(exact), format!("and {} nearly", count(near)), tone)
        };
        let mut tiles = vec![tile("Repeated rows", Kind::ExactDuplicate, Kind::NearDuplicate, Tone::Warn)];
        if figures.reference_images.is_some() {
            tiles.push(tile("Leaked images", Kind::Leaked, Kind::LeakedNear, Tone::Bad));
        }
        tiles
    }
}

/// Rows whose image could be decoded, with the position of that image.
fn images(collected: &Collected) -> impl Iterator<Item = (u32, u32)> {
    looks(collected).filter_map(|(row, _)| Some((row, collected.row(row as usize)?.image)))
}

/// Images of the dataset that are there more than once.
fn within(
    collected: &Collected,
    distinct: &duplicates::Distinct,
    thumbnails: &mut Thumbnails,
    findings: &mut Vec<Finding>,
    cancel: &Cancel,
) -> Result<()> {
    let label = |row: u32| collected.row(row as usize).and_then(|record| record.label);
    let labels_differ = |one: u32, other: u32| label(one).zip(label(other)).is_some_and(|(one, other)| one != other);
    findings.extend(distinct.copies.iter().map(|copy| Finding {
        row: copy.row,
        kind: Kind::ExactDuplicate,
        severity: if labels_differ(copy.row, copy.first) { Severity::High } else { Severity::Medium },
        score: copy.rows.into(),
        related: Some(Related::Audited(copy.first)),
    }));
    let own = Pictures::of(collected, distinct.first.iter().copied());
    let near = own.near_each_other(thumbnails, cancel)?;
    findings.extend(near.into_iter().map(|(row, other, bits)| Finding {
        row,
        kind: Kind::NearDuplicate,
        severity: if labels_differ(row, other) { Severity::Medium } else { Severity::Low },
        score: bits.into(),
        related: Some(Related::Audited(other)),
    }));
    Ok(())
}

/// Images that the reference has too. `first` are the first rows of different images.
fn leaks(
    (collected, thumbnails): (&Collected, &mut Thumbnails),
    first: impl Iterator<Item = u32>,
    (reference, reference_thumbnails): (&Collected, &mut Thumbnails),
    findings: &mut Vec<Finding>,
    cancel: &Cancel,
) -> Result<()> {
    let digest_of = |row: u32| Some((row, *reference.row(row as usize)?.digest));
    let known = Digests::new(looks(reference).filter_map(|(row, _)| digest_of(row)));
    let mut leaked = Vec::new();
    for (row, _) in looks(collected) {
        if row % 4096 == 0 {
            cancel.check()?;
        }
        let record = collected.row(row as usize);
        let Some((first, count)) = record.and_then(|record| known.find(record.digest)) else { continue };
        leaked.push(row);
        findings.push(Finding {
            row,
            kind: Kind::Leaked,
            severity: Severity::High,
            score: count.into(),
            related: Some(Related::Reference(first)),
        });
    }
    let others = first.filter(|row| leaked.binary_search(row).is_err());
    let asked = Pictures::of(collected, others);
    let images: Vec<_> = images(reference).collect();
    let among = Pictures::of(reference, duplicates::distinct(images).first.into_iter());
    let near = asked.near_in(thumbnails, &among, reference_thumbnails, cancel)?;
    findings.extend(near.into_iter().map(|(row, other, bits)| Finding {
        row,
        kind: Kind::LeakedNear,
        severity: Severity::Medium,
        score: bits.into(),
        related: Some(Related::Reference(other)),
    }));
    Ok(())
}

/// Says so where the two rows of a pair have different labels.
fn other_label(finding: &Finding, evidence: &Evidence<'_>) -> String {
    let Some(Related::Audited(other)) = finding.related else { return String::new() };
    match (evidence.label(finding.row), evidence.label(other)) {
        (Some(label), Some(other)) if label != other => {
            format!(" The labels differ: {} here, {} there.", quoted(label), quoted(other))
        }
        _ => String::new(),
    }
}

fn holds(rows: u64) -> String {
    format!("{} {}", counted(rows, "row"), if rows == 1 { "holds" } else { "hold" })
}
