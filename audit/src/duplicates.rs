//! Duplicates: exact by digest, near by perceptual hash.
//!
//! A picture that is another one in another encoding or light, moved by a little or cropped by a little, has its middle
//! in one of the other's windows ([`Inspection::windows`](crate::inspection::Inspection::windows)): the hash of the one
//! is near a window's hash of the other. Such hashes are found by multi-index hashing (Norouzi, Punjani, Fleet 2012):
//! hashes are cut into bands, and two hashes that differ in at most d bits differ in at most d / bands bits in one band
//! at least. Each band is a table that is asked for the band's value and for all values within that radius. What a
//! look-up meets has little to do with the picture otherwise, one in 32,768 images, so the next band is looked at before
//! the whole hash: with the bands in a ring there is one from which on each number of bands has no more than its share
//! of the d bits (Qin, Xiao 2018, the pigeonring principle). A look-up goes through a bounded number of images, so that
//! the time stays linear where very many hashes share a band; such pairs mostly still meet in another band. What is
//! found is checked on the thumbnails ([`likeness`](super::likeness)).

use serde::{Deserialize, Serialize};

use super::inspection::{HASH_BITS, PerceptualHash};
use super::observer::ShortDigest;

/// Most bits in which the hashes of near duplicates differ, of 120. Other pictures of CIFAR-10 differ in 29 or more.
pub(super) const MAX_BITS: u32 = 17;
/// Bands of a hash, 15 bits each: up to 15 bits of difference leave one of them with at most one. Of 16 and 17 bits
/// nearly all do.
const BANDS: u32 = 8;
/// Bits of a band.
const WIDTH: u32 = HASH_BITS / BANDS;
/// Bits that may differ in that band.
const RADIUS: u32 = 1;
/// Bits that may differ in that band and the next together.
const RADIUS_OF_TWO: u32 = 2 * MAX_BITS / BANDS;
/// Images of a band that are compared at a time.
const LANES: usize = 8;
/// Most images that one look-up in one band goes through.
const MAX_LOOKED_AT: usize = 256;
/// Most candidates that one picture gives.
const MAX_CANDIDATES: usize = 16;

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

/// Groups rows by image: pairs of row and the image's number.
pub(super) fn distinct(mut rows: Vec<(u32, u32)>) -> Distinct {
    rows.sort_unstable_by_key(|(row, image)| (*image, *row));
    let (mut first, mut copies) = (Vec::new(), Vec::new());
    for group in rows.chunk_by(|a, b| a.1 == b.1) {
        let Some(((head, _), rest)) = group.split_first() else { continue };
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
        let end = self.0.partition_point(|(other, _)| other <= digest);
        let (_, first) = self.0.get(start..end)?.first()?;
        Some((*first, (end - start) as u32))
    }
}

/// A picture that is near to the one that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Neighbour {
    /// Bits in which the hash differs from the nearest window's.
    pub bits: u32,
    /// Position of the picture in the table.
    pub position: u32,
}

/// Hashes of pictures, to be asked for those near to another.
#[derive(Debug)]
pub(super) struct HashTable {
    hashes: Vec<u128>,
    bands: Vec<Band>,
}

/// Positions of hashes by the value of one of their bands.
#[derive(Debug)]
struct Band {
    number: u32,
    /// For each value where its positions begin, and where the last ones end.
    starts: Vec<u32>,
    positions: Vec<u32>,
    /// The values of the next band, in the order of the positions.
    next: Vec<u16>,
}

/// Value of a band of a hash. The first band follows the last.
fn key_of(hash: u128, band: u32) -> u16 {
    ((hash >> (band % BANDS * WIDTH)) & ((1 << WIDTH) - 1)) as u16
}

impl Band {
    fn new(hashes: &[u128], number: u32) -> Self {
        // Counting sort: how many before each value, then each position to its place.
        let mut starts = vec![0; (1 << WIDTH) + 1];
        for hash in hashes {
            if let Some(count) = starts.get_mut(usize::from(key_of(*hash, number)) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut ends = starts.clone();
        let (mut positions, mut next) = (vec![0; hashes.len()], vec![0; hashes.len()]);
        for (position, hash) in hashes.iter().enumerate() {
            let Some(end) = ends.get_mut(usize::from(key_of(*hash, number))) else { continue };
            if let Some((place, beside)) = positions.get_mut(*end as usize).zip(next.get_mut(*end as usize)) {
                (*place, *beside) = (position as u32, key_of(*hash, number + 1));
            }
            *end += 1;
        }
        Self { number, starts, positions, next }
    }

    /// Calls `visit` with the positions of the hashes that have this value, ascending, and differ from `next` in at most
    /// `radius` bits of the next band. Returns how many have the value; at most [`MAX_LOOKED_AT`] are looked at.
    fn look_up(&self, key: u16, next: u16, radius: u32, visit: &mut impl FnMut(u32)) -> usize {
        let range = self.starts.get(usize::from(key)).zip(self.starts.get(usize::from(key) + 1));
        let range = range.map_or(0..0, |(start, end)| *start as usize..*end as usize);
        let range = range.start..range.end.min(range.start + MAX_LOOKED_AT);
        let (positions, values) = (self.positions.get(range.clone()), self.next.get(range.clone()));
        let Some((positions, values)) = positions.zip(values) else { return 0 };
        let is_near = |value: u16| (value ^ next).count_ones() <= radius;
        for (positions, values) in positions.chunks(LANES).zip(values.chunks(LANES)) {
            // Eight at a time, which the compiler makes one comparison of: nearly always none is near.
            if values.as_array::<LANES>().is_some_and(|values| values.map(is_near) == [false; LANES]) {
                continue;
            }
            positions
                .iter()
                .zip(values)
                .filter(|(_, value)| is_near(**value))
                .for_each(|(position, _)| visit(*position));
        }
        range.len()
    }
}

impl HashTable {
    /// A table of these hashes; positions count from 0.
    pub fn new<'a>(hashes: impl Iterator<Item = &'a PerceptualHash>) -> Self {
        let hashes: Vec<u128> = hashes.map(|hash| u128::from_le_bytes(*hash)).collect();
        let bands = (0..BANDS).map(|number| Band::new(&hashes, number)).collect();
        Self { hashes, bands }
    }

    /// The pictures that differ from one of the windows in at most [`MAX_BITS`] bits, nearest first, at most 16; `own`
    /// is left out.
    pub fn near(&self, windows: &[PerceptualHash], own: Option<u32>) -> Vec<Neighbour> {
        self.search(windows, own, &mut 0)
    }

    /// As [`near`](Self::near); counts in `looked_at` the pictures that it goes through.
    fn search(&self, windows: &[PerceptualHash], own: Option<u32>, looked_at: &mut usize) -> Vec<Neighbour> {
        let mut found: Vec<Neighbour> = Vec::new();
        for window in windows {
            let (window, before) = (u128::from_le_bytes(*window), found.len());
            let mut visit = |position: u32| {
                let bits = self.hashes.get(position as usize).map_or(HASH_BITS, |hash| (hash ^ window).count_ones());
                if bits <= MAX_BITS && Some(position) != own {
                    found.push(Neighbour { bits, position });
                }
            };
            for band in &self.bands {
                let (key, next) = (key_of(window, band.number), key_of(window, band.number + 1));
                within(key, RADIUS, &mut |key, bits| {
                    *looked_at += band.look_up(key, next, RADIUS_OF_TWO - bits, &mut visit);
                });
            }
            if found.len() == before {
                continue;
            }
            // Each picture once, by its nearest window so far.
            found.sort_unstable_by_key(|neighbour| (neighbour.position, neighbour.bits));
            found.dedup_by_key(|neighbour| neighbour.position);
            found.sort_unstable();
            found.truncate(MAX_CANDIDATES);
            if found.len() == MAX_CANDIDATES && found.iter().all(|neighbour| neighbour.bits == 0) {
                break;
            }
        }
        found
    }
}

/// Calls `visit` with every value of a band that differs from `key` in at most `radius` bits, once each, and the number
/// of these bits.
fn within(key: u16, radius: u32, visit: &mut impl FnMut(u16, u32)) {
    fn from_bit(key: u16, bit: u32, bits: u32, radius: u32, visit: &mut impl FnMut(u16, u32)) {
        visit(key, bits);
        if bits < radius {
            (bit..WIDTH).for_each(|bit| from_bit(key ^ (1 << bit), bit + 1, bits + 1, radius, visit));
        }
    }
    from_bit(key, 0, 0, radius, visit);
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn copies_point_to_the_first_row() {
        let found = distinct(vec![(2, 7), (3, 1), (5, 7), (8, 9), (9, 7)]);
        assert_eq!(found.first, [2, 3, 8]);
        assert_eq!(found.copies, [Copy { row: 5, first: 2, rows: 3 }, Copy { row: 9, first: 2, rows: 3 }]);
        let digest = |byte: u8| [byte; 16];
        let digests = Digests::new([(2, digest(7)), (3, digest(1)), (5, digest(7)), (9, digest(7))].into_iter());
        assert_eq!(digests.find(&digest(7)), Some((2, 3)));
        assert_eq!((digests.find(&digest(8)), digests.find(&digest(255))), (None, None));
    }

    #[test]
    fn keys_within_a_radius_come_once() {
        for (radius, expected) in [(0, 1), (1, 16), (2, 121)] {
            let mut keys = Vec::new();
            within(0b101, radius, &mut |key, bits| {
                assert_eq!((key ^ 0b101).count_ones(), bits);
                keys.push(key);
            });
            assert!(keys.iter().all(|key| (key ^ 0b101).count_ones() <= radius && *key < 1 << WIDTH));
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), expected);
        }
    }

    fn drawn(rng: &mut ChaCha8Rng) -> PerceptualHash {
        (rng.random::<u128>() & ((1 << HASH_BITS) - 1)).to_le_bytes()
    }

    /// All pairs by brute force.
    #[test]
    fn every_near_pair_is_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut hashes: Vec<PerceptualHash> = (0..3000).map(|_| drawn(&mut rng)).collect();
        // Some repeat an earlier one with 1 to 20 bits changed.
        for row in (1..hashes.len()).step_by(7) {
            let mut hash = u128::from_le_bytes(hashes[row / 2]);
            (0..1 + row % 20).for_each(|_| hash ^= 1 << rng.random_range(0..HASH_BITS));
            hashes[row] = hash.to_le_bytes();
        }
        let table = HashTable::new(hashes.iter());
        let (mut pairs, mut beyond, mut missed) = (0, 0, 0);
        for (own, hash) in hashes.iter().enumerate() {
            let windows = [drawn(&mut rng), *hash];
            let found = table.near(&windows, Some(own as u32));
            let bits = |other: &PerceptualHash| {
                let differ =
                    |window: &PerceptualHash| (u128::from_le_bytes(*window) ^ u128::from_le_bytes(*other)).count_ones();
                windows.iter().map(differ).min().expect("windows")
            };
            let others = hashes.iter().enumerate().filter(|(position, _)| *position != own);
            let all = others.map(|(position, other)| Neighbour { bits: bits(other), position: position as u32 });
            let mut expected: Vec<Neighbour> = all.filter(|neighbour| neighbour.bits <= MAX_BITS).collect();
            expected.sort_unstable();
            let sure = |neighbours: &[Neighbour]| neighbours.iter().filter(|near| near.bits <= 15).copied().collect();
            let (sure_found, sure_expected): (Vec<Neighbour>, Vec<_>) = (sure(&found), sure(&expected));
            assert_eq!(sure_found, sure_expected, "row {own}");
            assert!(found.iter().all(|near| expected.contains(near)), "row {own}");
            (pairs, beyond) = (pairs + sure_found.len(), beyond + expected.len() - sure_expected.len());
            missed += expected.len() - found.len();
        }
        assert!(pairs > 400 && missed * 10 < beyond, "{pairs} pairs, {missed} of {beyond} missed");
        assert_eq!(HashTable::new([].into_iter()).near(&hashes[..1], None), []);
    }

    #[test]
    fn very_many_equal_hashes_take_no_quadratic_time() {
        let hash = [&[7; 15][..], &[0]].concat().try_into().expect("16 bytes");
        let table = HashTable::new(std::iter::repeat_n(&hash, 100_000));
        for own in (0..100_000).step_by(10_000) {
            let mut looked_at = 0;
            let found = table.search(&[hash], Some(own), &mut looked_at);
            assert_eq!((found.len(), found[0].bits), (MAX_CANDIDATES, 0));
            assert!(looked_at <= MAX_LOOKED_AT * BANDS as usize, "{looked_at} of 100,000");
        }
    }
}
