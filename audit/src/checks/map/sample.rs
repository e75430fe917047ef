//! Which images stand on a map of thousands.

use std::collections::{HashMap, HashSet};

use crate::findings::Finding;
use crate::kind::Kind;

/// Images of a map and what was found about them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// The first row of each, with the first kind of finding that it has; those with findings come first, of each kind
    /// the most striking before the others.
    pub rows: Vec<(u32, Option<Kind>)>,
    /// How many of them have findings.
    pub found: usize,
}

/// Chooses at most `most` images: up to a half from those with findings, of each kind as many as of the next while
/// there are any, and the rest at random, the same in every run. `images` are the position of each image, ascending,
/// and its first row; `image_of` tells a row's image; `findings` are in the order of the table.
pub(super) fn choose(
    images: &[(u32, u32)],
    image_of: impl Fn(u32) -> Option<u32>,
    findings: &[Finding],
    most: usize,
) -> Sample {
    let first_row = |image: u32| {
        let position = images.binary_search_by_key(&image, |(image, _)| *image).ok()?;
        images.get(position).map(|(_, row)| *row)
    };
    let mut kinds: Vec<_> = findings.chunk_by(|a, b| a.kind == b.kind).map(|of_kind| of_kind.iter()).collect();
    let mut chosen: Vec<(u32, u32)> = Vec::new();
    let mut taken = HashSet::new();
    // A kind at a time gives its next image, until there are enough or none gives any more.
    while chosen.len() < most / 2 {
        let before = chosen.len();
        for findings in &mut kinds {
            let next = findings.find_map(|finding| {
                let image = image_of(finding.row)?;
                let row = first_row(image)?;
                taken.insert(image).then_some((image, row))
            });
            chosen.extend(next.filter(|_| chosen.len() < most / 2));
        }
        if chosen.len() == before {
            break;
        }
    }
    // An image counts by the first of its kinds, whichever gave it.
    let mut first_kind: HashMap<u32, Kind> = HashMap::new();
    for finding in findings {
        if let Some(image) = image_of(finding.row) {
            first_kind.entry(image).or_insert(finding.kind);
        }
    }
    let with_kind = |image: u32, row: u32| (row, first_kind.get(&image).copied());
    let mut rows: Vec<(u32, Option<Kind>)> = chosen.iter().map(|&(image, row)| with_kind(image, row)).collect();
    let own: HashSet<u32> = chosen.iter().map(|(image, _)| *image).collect();
    let mut others: Vec<(u64, u32, u32)> = images
        .iter()
        .filter(|(image, _)| !own.contains(image))
        .map(|&(image, row)| (scattered(image), image, row))
        .collect();
    let wanted = most - rows.len();
    if others.len() > wanted {
        if wanted > 0 {
            others.select_nth_unstable(wanted - 1);
        }
        others.truncate(wanted);
    }
    others.sort_unstable();
    rows.extend(others.into_iter().map(|(_, image, row)| with_kind(image, row)));
    let found = rows.iter().filter(|(_, kind)| kind.is_some()).count();
    Sample { rows, found }
}

/// A number without a pattern for each number (SplitMix64, Steele et al. 2014).
fn scattered(number: u32) -> u64 {
    let mut z = u64::from(number).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Severity;

    fn finding(kind: Kind, row: u32) -> Finding {
        Finding { row, kind, severity: Severity::Low, score: 0.0, related: None }
    }

    /// Rows 2n and 2n + 1 hold image n.
    fn images(count: u32) -> Vec<(u32, u32)> {
        (0..count).map(|image| (image, 2 * image)).collect()
    }

    fn image_of(row: u32) -> Option<u32> {
        Some(row / 2)
    }

    #[test]
    fn every_kind_has_its_share_and_its_most_striking_images() {
        let mut findings: Vec<Finding> = (0..900).rev().map(|row| finding(Kind::Unknown, row)).collect();
        findings.extend([1500, 1501, 1502].map(|row| finding(Kind::Leaked, row)));
        let sample = choose(&images(1000), image_of, &findings, 20);
        assert_eq!(sample.rows.len(), 20);
        let kinds: Vec<Option<Kind>> = sample.rows.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(
            kinds.iter().filter(|kind| **kind == Some(Kind::Leaked)).count(),
            2,
            "one image in two rows counts once"
        );
        assert_eq!(
            sample.rows[..3],
            [(898, Some(Kind::Unknown)), (1500, Some(Kind::Leaked)), (896, Some(Kind::Unknown))]
        );
        assert_eq!(sample.found, kinds.iter().flatten().count());
        assert!(kinds[..10].iter().all(Option::is_some));
        let mut rows: Vec<u32> = sample.rows.iter().map(|(row, _)| *row).collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 20, "no image stands twice");
    }

    #[test]
    fn the_rest_is_spread_and_the_same_every_time() {
        let sample = choose(&images(100_000), image_of, &[], 2000);
        assert_eq!(sample, choose(&images(100_000), image_of, &[], 2000));
        let early = sample.rows.iter().filter(|(row, _)| *row < 50_000).count();
        assert!((400..600).contains(&early), "a quarter of 2,000: {early}");
        assert_eq!(choose(&images(7), image_of, &[finding(Kind::Blurred, 3)], 2000).rows.len(), 7);
        assert_eq!(choose(&[], image_of, &[finding(Kind::Blurred, 3)], 2000), Sample::default());
    }
}
