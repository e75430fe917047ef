//! Images that are there twice, or in the reference too.

use super::rows::looks;
use crate::collect::Collected;
use crate::duplicates::{self, Digests, DuplicateFigures};
use crate::findings::{Finding, Related};
use crate::kind::{Kind, Severity};
use crate::pictures::Pictures;
use crate::thumbnails::Thumbnails;
use dismax::cancel::Cancel;
use dismax::error::Result;

pub(super) fn duplicate_findings(
    collected: &Collected,
    thumbnails: &mut Thumbnails,
    reference: Option<(&Collected, &mut Thumbnails)>,
    findings: &mut Vec<Finding>,
    cancel: &Cancel,
) -> Result<DuplicateFigures> {
    let record = |row: u32| collected.row(row as usize);
    let images: Vec<_> = looks(collected).filter_map(|(row, _)| Some((row, record(row)?.image))).collect();
    let distinct = duplicates::distinct(images);
    let labels_differ = |one: u32, other: u32| {
        let label = |row: u32| record(row).and_then(|record| record.label);
        label(one).zip(label(other)).is_some_and(|(one, other)| one != other)
    };
    findings.extend(distinct.copies.iter().map(|copy| Finding {
        row: copy.row,
        kind: Kind::ExactDuplicate,
        severity: if labels_differ(copy.row, copy.first) { Severity::High } else { Severity::Medium },
        score: copy.rows.into(),
        related: Some(Related::Audited(copy.first)),
    }));
    let mut repeated: Vec<u32> = distinct.copies.iter().map(|copy| copy.first).collect();
    repeated.sort_unstable();
    repeated.dedup();

    let own = Pictures::of(collected, distinct.first.iter().copied());
    let near = own.near_each_other(thumbnails, cancel)?;
    findings.extend(near.into_iter().map(|(row, other, bits)| Finding {
        row,
        kind: Kind::NearDuplicate,
        severity: if labels_differ(row, other) { Severity::Medium } else { Severity::Low },
        score: bits.into(),
        related: Some(Related::Audited(other)),
    }));
    let mut reference_images = None;
    if let Some((reference, reference_thumbnails)) = reference {
        let digest_of = |row: u32| Some((row, *reference.row(row as usize)?.digest));
        let known = Digests::new(looks(reference).filter_map(|(row, _)| digest_of(row)));
        let mut leaked = Vec::new();
        for (row, _) in looks(collected) {
            if row % 4096 == 0 {
                cancel.check()?;
            }
            let Some((first, count)) = record(row).and_then(|record| known.find(record.digest)) else { continue };
            leaked.push(row);
            findings.push(Finding {
                row,
                kind: Kind::Leaked,
                severity: Severity::High,
                score: count.into(),
                related: Some(Related::Reference(first)),
            });
        }
        let others = distinct.first.iter().copied().filter(|row| leaked.binary_search(row).is_err());
        let asked = Pictures::of(collected, others);
        let images: Vec<_> =
            looks(reference).filter_map(|(row, _)| Some((row, reference.row(row as usize)?.image))).collect();
        let among = Pictures::of(reference, duplicates::distinct(images).first.into_iter());
        let near = asked.near_in(thumbnails, &among, reference_thumbnails, cancel)?;
        findings.extend(near.into_iter().map(|(row, other, bits)| Finding {
            row,
            kind: Kind::LeakedNear,
            severity: Severity::Medium,
            score: bits.into(),
            related: Some(Related::Reference(other)),
        }));
        reference_images = Some(looks(reference).count() as u64);
    }
    Ok(DuplicateFigures {
        images: looks(collected).count() as u64,
        distinct: distinct.first.len() as u64,
        repeated: repeated.len() as u64,
        reference_images,
    })
}
