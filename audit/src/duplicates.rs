//! Duplicates: exact by digest, near by perceptual hash.
//!
//! A picture that is another one in another encoding or light, moved by a little or cropped by a little, has its middle
//! in one of the other's windows ([`Inspection::windows`](crate::inspection::Inspection::windows)): the hash of the one
//! is near a window's hash of the other. Such hashes are found by multi-index hashing (Norouzi, Punjani, Fleet 2012):
//! hashes are cut into bands, and two hashes that differ in at most d bits differ in at most d / bands bits in one band
//! at least. Each band is a table that is asked for the band's value and for all values within that radius, and a
//! look-up meets one in tens of thousands of images. It also goes through a bounded number of them, so that the time
//! stays linear where very many hashes share a band; such pairs mostly still meet in another band. What is found is
//! checked on the thumbnails ([`likeness`](super::likeness)).

use serde::{Deserialize, Serialize};

use super::inspection::PerceptualHash;
use super::observer::ShortDigest;

/// Most bits in which the hashes of near duplicates differ, of 121. Half of a hash's bits are set, so that the number
/// is even.
pub(super) const MAX_BITS: u32 = 15;
/// Bits that a hash has.
const BITS: u32 = 121;
/// Bands of a hash: each has 15 or 16 bits, and in one of them at most one bit differs.
const BANDS: u32 = 8;
/// Bits that may differ in that band.
const RADIUS: u32 = MAX_BITS / BANDS;
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

/// Positions of hashes by the value of some of their bits.
#[derive(Debug)]
struct Band {
    from: u32,
    width: u32,
    /// For each value where its positions begin, and where the last ones end.
    starts: Vec<u32>,
    positions: Vec<u32>,
}

impl Band {
    fn new(hashes: &[u128], from: u32, width: u32) -> Self {
        let mut band = Self { from, width, starts: vec![0; (1 << width) + 1], positions: vec![0; hashes.len()] };
        // Counting sort: how many before each value, then each position to its place.
        for hash in hashes {
            let next = band.key_of(*hash) as usize + 1;
            if let Some(count) = band.starts.get_mut(next) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut band.starts {
            sum += *start;
            *start = sum;
        }
        let mut next = band.starts.clone();
        for (position, hash) in hashes.iter().enumerate() {
            let key = band.key_of(*hash) as usize;
            if let Some(at) = next.get_mut(key) {
                if let Some(place) = band.positions.get_mut(*at as usize) {
                    *place = position as u32;
                }
                *at += 1;
            }
        }
        band
    }

    fn key_of(&self, hash: u128) -> u32 {
        ((hash >> self.from) & ((1 << self.width) - 1)) as u32
    }

    /// Positions of the hashes with this value, ascending.
    fn get(&self, key: u32) -> &[u32] {
        let key = key as usize;
        let range = self.starts.get(key).zip(self.starts.get(key + 1));
        range.and_then(|(start, end)| self.positions.get(*start as usize..*end as usize)).unwrap_or_default()
    }
}

impl HashTable {
    /// A table of these hashes; positions count from 0.
    pub fn new<'a>(hashes: impl Iterator<Item = &'a PerceptualHash>) -> Self {
        let hashes: Vec<u128> = hashes.map(|hash| u128::from_le_bytes(*hash)).collect();
        let edge = |band: u32| band * BITS / BANDS;
        let bands = (0..BANDS).map(|band| Band::new(&hashes, edge(band), edge(band + 1) - edge(band))).collect();
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
            let window = u128::from_le_bytes(*window);
            for band in &self.bands {
                within(band.key_of(window), band.width, RADIUS, &mut |key| {
                    let positions = band.get(key).iter().take(MAX_LOOKED_AT);
                    for &position in positions.filter(|position| Some(**position) != own) {
                        *looked_at += 1;
                        let bits = self.hashes.get(position as usize).map_or(BITS, |hash| (hash ^ window).count_ones());
                        if bits <= MAX_BITS {
                            found.push(Neighbour { bits, position });
                        }
                    }
                });
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

    /// All pairs by brute force.
    #[test]
    fn every_near_pair_is_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut hashes: Vec<PerceptualHash> = (0..3000).map(|_| drawn(&mut rng)).collect();
        // Some repeat an earlier one with 1 to 20 bits changed.
        for row in (1..hashes.len()).step_by(7) {
            let mut hash = u128::from_le_bytes(hashes[row / 2]);
            (0..1 + row % 20).for_each(|_| hash ^= 1 << rng.random_range(0..BITS));
            hashes[row] = hash.to_le_bytes();
        }
        let table = HashTable::new(hashes.iter());
        let mut pairs = 0;
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
            assert_eq!(found, expected, "row {own}");
            pairs += found.len();
        }
        assert!(pairs > 400, "{pairs}");
        assert_eq!(HashTable::new([].into_iter()).near(&hashes[..1], None), []);
    }

    #[test]
    fn very_many_equal_hashes_take_no_quadratic_time() {
        let hash = [7; 16];
        let table = HashTable::new(std::iter::repeat_n(&hash, 100_000));
        for own in (0..100_000).step_by(10_000) {
            let mut looked_at = 0;
            let found = table.search(&[hash], Some(own), &mut looked_at);
            assert_eq!((found.len(), found[0].bits), (MAX_CANDIDATES, 0));
            assert!(looked_at <= MAX_LOOKED_AT * BANDS as usize, "{looked_at} of 100,000");
        }
    }
}
