// TO THE AUTHOR (remove when done): read /root/runs/near_duplicates.md; this rule finds only half of the planted near duplicates. Build
// the rule recommended there (DoubleGradient 10x10, distance <= 11, 3 interleaved bands, registration residual <= 0.15).
//! Duplicates: exact by digest, near by perceptual hash.
//!
//! Near duplicates are searched by multi-index hashing (Norouzi, Punjani, Fleet 2012): hashes are cut into bands, and two hashes that differ
//! in at most d bits differ in at most d / bands bits in one band at least. Each band is a sorted table that is asked for the band's
//! value and all values within that radius. The more images, the wider the bands, so that a look-up meets a few images only and
//! the whole takes about n log n steps. A look-up goes through a bounded number of images, which also bounds the time where very
//! many hashes share a band; such pairs mostly still meet in another band.

use serde::{Deserialize, Serialize};

use super::collect::ShortDigest;
use crate::image::{Miniature, PerceptualHash};

/// Most bits in which the hashes of near duplicates differ, of 121.
pub(super) const MOST_BITS: u32 = 14;
/// Bits that a hash has.
const BITS: u32 = 121;
/// Most images that one look-up in one band goes through.
const MOST_LOOKED_AT: usize = 512;
/// Luma of the miniatures must be correlated by this at least: contrast and light may differ, the picture may not.
const LEAST_CORRELATION: f64 = 0.98;
/// Most mean difference of the miniatures' chroma, in grey values of 255.
const MOST_CHROMA: f64 = 6.0;
/// Values of luma in a miniature; the chroma follows.
const LUMA: usize = 64;

/// Numbers of duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DuplicateFigures {
    /// Images that were compared: those that could be decoded.
    pub images: u64,
    /// Different ones among them, byte for byte.
    pub distinct: u64,
    /// Images that occur more than once.
    pub repeated: u64,
    /// Rows of the reference that were compared; none without reference.
    pub reference_images: Option<u64>,
}

/// A row that equals an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    pub row: u32,
    /// The first row with this image.
    pub first: u32,
    /// Rows with this image.
    pub rows: u32,
}

/// Rows by image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Distinct {
    /// The first row of each image, ascending.
    pub first: Vec<u32>,
    /// The other rows, ascending.
    pub copies: Vec<Copy>,
}

/// Groups rows by digest; rows are ascending.
pub(super) fn distinct(rows: &[(u32, ShortDigest)]) -> Distinct {
    let mut order: Vec<&(u32, ShortDigest)> = rows.iter().collect();
    order.sort_unstable_by_key(|(row, digest)| (*digest, *row));
    let (mut first, mut copies) = (Vec::new(), Vec::new());
    for group in order.chunk_by(|a, b| a.1 == b.1) {
        let Some(((head, _), rest)) = group.split_first().map(|(head, rest)| (*head, rest)) else { continue };
        first.push(*head);
        copies.extend(rest.iter().map(|(row, _)| Copy { row: *row, first: *head, rows: group.len() as u32 }));
    }
    first.sort_unstable();
    copies.sort_unstable_by_key(|copy| copy.row);
    Distinct { first, copies }
}

/// The reference's rows by digest.
#[derive(Debug)]
pub(super) struct Digests(Vec<(ShortDigest, u32)>);

impl Digests {
    pub fn new(rows: impl Iterator<Item = (u32, ShortDigest)>) -> Self {
        let mut digests: Vec<_> = rows.map(|(row, digest)| (digest, row)).collect();
        digests.sort_unstable();
        Self(digests)
    }

    /// The first row with this digest and how many have it.
    pub fn find(&self, digest: &ShortDigest) -> Option<(u32, u32)> {
        let start = self.0.partition_point(|(other, _)| other < digest);
        let equal = self.0.get(start..)?.iter().take_while(|(other, _)| other == digest);
        let (first, count) = equal.fold((None, 0), |(first, count), (_, row)| (first.or(Some(*row)), count + 1));
        first.map(|first| (first, count))
    }
}

/// An image whose near duplicates are searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture<'a> {
    pub hash: &'a PerceptualHash,
    pub miniature: &'a Miniature,
}

/// The most similar picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Neighbour {
    /// Bits in which the hashes differ.
    pub bits: u32,
    /// Its position among the pictures.
    pub position: u32,
}

/// For each of the `asked` the most similar of `among` that is a near duplicate, the first of equals. With `earlier_only` the
/// two are the same pictures, and only those before the asked one count.
pub(super) fn nearest(asked: &[Picture], among: &[Picture], earlier_only: bool) -> Vec<Option<Neighbour>> {
    let mut nearest: Vec<Option<Neighbour>> = vec![None; asked.len()];
    let bands = bands_for(among.len());
    let radius = MOST_BITS / bands;
    let mut table: Vec<(u32, u32)> = Vec::with_capacity(among.len());
    for band in 0..bands {
        let (from, to) = (band * BITS / bands, (band + 1) * BITS / bands);
        let key_of = |hash: &PerceptualHash| ((u128::from_le_bytes(*hash) >> from) & ((1 << (to - from)) - 1)) as u32;
        table.clear();
        table.extend(among.iter().enumerate().map(|(position, picture)| (key_of(picture.hash), position as u32)));
        table.sort_unstable();
        for (position, (picture, best)) in asked.iter().zip(&mut nearest).enumerate() {
            let key = key_of(picture.hash);
            let mut look_up = |key: u32| {
                let start = table.partition_point(|(other, _)| *other < key);
                let bucket = table.get(start..).unwrap_or_default().iter().take(MOST_LOOKED_AT);
                for (_, other) in bucket.take_while(|(other, _)| *other == key) {
                    if earlier_only && *other as usize >= position {
                        break;
                    }
                    let Some(candidate) = among.get(*other as usize) else { break };
                    let neighbour = Neighbour { bits: bits(picture.hash, candidate.hash), position: *other };
                    if neighbour.bits <= MOST_BITS
                        && best.is_none_or(|best| neighbour < best)
                        && look_alike(picture.miniature, candidate.miniature)
                    {
                        *best = Some(neighbour);
                    }
                }
            };
            within(key, to - from, radius, &mut look_up);
        }
    }
    nearest
}

/// So many that a band's value is shared by few of so many hashes, and at least so few that the radius stays small.
fn bands_for(hashes: usize) -> u32 {
    let wanted_bits = usize::BITS - hashes.leading_zeros();
    (BITS / wanted_bits.max(1)).clamp(5, 8)
}

/// Calls `visit` with every key of `width` bits that differs from `key` in at most `radius` bits, once each.
fn within(key: u32, width: u32, radius: u32, visit: &mut impl FnMut(u32)) {
    fn from_bit(key: u32, bit: u32, width: u32, radius: u32, visit: &mut impl FnMut(u32)) {
        visit(key);
        if radius > 0 {
            (bit..width).for_each(|bit| from_bit(key ^ (1 << bit), bit + 1, width, radius - 1, visit));
        }
    }
    from_bit(key, 0, width, radius, visit);
}

/// Bits in which two hashes differ.
fn bits(one: &PerceptualHash, other: &PerceptualHash) -> u32 {
    (u128::from_le_bytes(*one) ^ u128::from_le_bytes(*other)).count_ones()
}

/// Whether two miniatures show the same picture, perhaps in other light.
fn look_alike(one: &Miniature, other: &Miniature) -> bool {
    let (luma, chroma) = one.split_at(LUMA);
    let (other_luma, other_chroma) = other.split_at(LUMA);
    correlation(luma, other_luma) >= LEAST_CORRELATION && mean_difference(chroma, other_chroma) <= MOST_CHROMA
}

/// Pearson's correlation; 0 where one of the two is constant.
fn correlation(one: &[u8], other: &[u8]) -> f64 {
    let mean = |values: &[u8]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64;
    let (mean_one, mean_other) = (mean(one), mean(other));
    let (mut product, mut square_one, mut square_other) = (0.0, 0.0, 0.0);
    for (a, b) in one.iter().zip(other) {
        let (a, b) = (f64::from(*a) - mean_one, f64::from(*b) - mean_other);
        product += a * b;
        square_one += a * a;
        square_other += b * b;
    }
    let scale = (square_one * square_other).sqrt();
    if scale > 0.0 { product / scale } else { 0.0 }
}

fn mean_difference(one: &[u8], other: &[u8]) -> f64 {
    let sum: u32 = one.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / one.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn copies_point_to_the_first_row() {
        let digest = |byte: u8| [byte; 16];
        let rows = [(2, digest(7)), (3, digest(1)), (5, digest(7)), (8, digest(9)), (9, digest(7))];
        let found = distinct(&rows);
        assert_eq!(found.first, [2, 3, 8]);
        assert_eq!(found.copies, [Copy { row: 5, first: 2, rows: 3 }, Copy { row: 9, first: 2, rows: 3 }]);
        let digests = Digests::new(rows.into_iter());
        assert_eq!(digests.find(&digest(7)), Some((2, 3)));
        assert_eq!((digests.find(&digest(8)), digests.find(&digest(255))), (None, None));
    }

    #[test]
    fn keys_within_a_radius_come_once() {
        for (width, radius, expected) in [(16, 0, 1), (16, 1, 17), (16, 2, 137), (3, 3, 8)] {
            let mut keys = Vec::new();
            within(0b101, width, radius, &mut |key| keys.push(key));
            assert!(keys.iter().all(|key| (key ^ 0b101u32).count_ones() <= radius && *key < 1 << width));
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), expected);
        }
    }

    fn drawn(rng: &mut ChaCha8Rng) -> PerceptualHash {
        (rng.random::<u128>() & ((1 << BITS) - 1)).to_le_bytes()
    }

    /// All pairs by brute force, for each of the numbers of bands that there are.
    #[test]
    fn every_near_pair_is_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let picture: Miniature = std::array::from_fn(|at| (at * 37 % 251) as u8);
        for rows in [10, 600, 40_000] {
            let mut hashes: Vec<PerceptualHash> = (0..rows).map(|_| drawn(&mut rng)).collect();
            // Some rows repeat an earlier one with 1 to 20 bits changed.
            for row in (1..rows).step_by(7) {
                let mut hash = u128::from_le_bytes(hashes[row / 2]);
                (0..1 + row % 20).for_each(|_| hash ^= 1 << rng.random_range(0..BITS));
                hashes[row] = hash.to_le_bytes();
            }
            let pictures: Vec<Picture> = hashes.iter().map(|hash| Picture { hash, miniature: &picture }).collect();
            let found = nearest(&pictures, &pictures, true);
            for row in (0..rows).step_by(rows.div_ceil(600)) {
                let earlier = (0..row).map(|other| Neighbour { bits: bits(&hashes[row], &hashes[other]), position: other as u32 });
                let expected = earlier.filter(|neighbour| neighbour.bits <= MOST_BITS).min();
                assert_eq!(found[row], expected, "row {row} of {rows}");
            }
            assert!(found.iter().flatten().count() >= rows / 12);
        }
        assert_eq!([10, 40_000, 1 << 20, 1 << 30].map(bands_for), [8, 7, 5, 5]);
    }

    #[test]
    fn very_many_equal_hashes_take_no_quadratic_time() {
        let (hash, picture) = ([7; 16], std::array::from_fn(|at| (at * 37 % 251) as u8));
        let pictures = vec![Picture { hash: &hash, miniature: &picture }; 50_000];
        let start = std::time::Instant::now();
        let found = nearest(&pictures, &pictures, true);
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
        assert_eq!((found[0], found[49_999]), (None, Some(Neighbour { bits: 0, position: 0 })));
    }

    #[test]
    fn pictures_must_look_alike_as_well() {
        let picture: Miniature = std::array::from_fn(|at| (60 + at * 37 % 120) as u8);
        let brighter = picture.map(|value| value + 30);
        let mut brighter_in_its_colours = brighter;
        brighter_in_its_colours[LUMA..].copy_from_slice(&picture[LUMA..]);
        assert!(look_alike(&picture, &picture) && look_alike(&picture, &brighter_in_its_colours));
        assert!(!look_alike(&picture, &brighter), "other colours");
        let other: Miniature = std::array::from_fn(|at| (60 + at * 53 % 120) as u8);
        assert!(!look_alike(&picture, &other));
        assert!(!look_alike(&[9; 96], &[9; 96]), "nothing can be said of one tone");
        assert!((correlation(&[1, 2, 3], &[2, 4, 6]) - 1.0).abs() < 1e-12);
        let hash = [1; 16];
        let both = [Picture { hash: &hash, miniature: &picture }, Picture { hash: &hash, miniature: &other }];
        assert_eq!(nearest(&both, &both, true), [None, None]);
        assert_eq!(nearest(&both[..1], &both, false), [Some(Neighbour { bits: 0, position: 0 })]);
    }
}
