//! Perceptual hashes of pictures, to be asked for those near to others.
//!
//! Multi-index hashing (Norouzi, Punjani, Fleet 2012): hashes are cut into bands, and two hashes that differ in at most d
//! bits differ in at most d / bands bits in one band at least. Each band is a table that is asked for the band's value and
//! for all values within that radius. What a look-up meets has little to do with the picture otherwise, one in 32,768
//! images, so the next band is looked at before the whole hash: with the bands in a ring there is one from which on each
//! number of bands has no more than its share of the d bits (Qin, Xiao 2018, the pigeonring principle).
//!
//! Many hashes ask at a time, in the order of their bands' values: those with the same value have the same look-ups, whose
//! results are gathered once. A look-up goes through a bounded number of images, so that the time stays linear where very
//! many hashes share a band; such pairs mostly still meet in another band.

use super::inspection::{HASH_BITS, PerceptualHash};
use super::parallel::in_steps;
use dismax::cancel::Cancel;
use dismax::error::Result;

/// Most bits in which the hashes of near duplicates differ, of 120. Other pictures of CIFAR-10 differ in 29 or more.
pub(super) const MAX_BITS: u32 = 17;
/// Bands of a hash, 15 bits each: up to 15 bits of difference leave one of them with at most one. Of 16 and 17 bits
/// nearly all do.
const BANDS: u32 = 8;
/// Bits of a band.
const WIDTH: u32 = HASH_BITS / BANDS;
/// Values of a band.
const VALUES: usize = 1 << WIDTH;
/// Bits that may differ in that band and the next together; in that band one.
const RADIUS_OF_TWO: u32 = 2 * MAX_BITS / BANDS;
/// Most images that one look-up in one band goes through.
const MAX_LOOKED_AT: usize = 256;
/// Most candidates that one picture gives.
const MAX_CANDIDATES: usize = 16;
/// Images of a band that are compared at a time.
const LANES: usize = 8;

/// A picture that is near to one that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Neighbour {
    /// Bits in which the hash differs from the nearest window's.
    pub bits: u32,
    /// Position of the picture in the table.
    pub position: u32,
}

/// Hashes of pictures.
#[derive(Debug)]
pub(super) struct HashTable {
    hashes: Vec<u128>,
    bands: Vec<Band>,
}

/// Positions of hashes by the value of one of their bands.
#[derive(Debug)]
struct Band {
    number: u32,
    by_value: ByValue,
    /// The values of the next band, in the order of the positions.
    next: Vec<u16>,
}

/// Positions by value.
#[derive(Debug)]
struct ByValue {
    /// For each value where its positions begin, and where the last ones end.
    starts: Vec<u32>,
    /// Ascending for each value.
    positions: Vec<u32>,
}

impl ByValue {
    fn new(values: impl ExactSizeIterator<Item = u16> + Clone) -> Self {
        // Counting sort: how many before each value, then each position to its place.
        let mut starts = vec![0; VALUES + 1];
        for value in values.clone() {
            starts[usize::from(value) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let (mut ends, mut positions) = (starts.clone(), vec![0; values.len()]);
        for (position, value) in values.enumerate() {
            let end = &mut ends[usize::from(value)];
            positions[*end as usize] = position as u32;
            *end += 1;
        }
        Self { starts, positions }
    }

    /// Where the positions with this value lie.
    fn range(&self, value: u16) -> std::ops::Range<usize> {
        let value = usize::from(value);
        self.starts[value] as usize..self.starts[value + 1] as usize
    }
}

/// Value of a band of a hash. The first band follows the last.
fn value_of(hash: u128, band: u32) -> u16 {
    ((hash >> (band % BANDS * WIDTH)) & (VALUES as u128 - 1)) as u16
}

impl Band {
    fn new(hashes: &[u128], number: u32) -> Self {
        let by_value = ByValue::new(hashes.iter().map(|hash| value_of(*hash, number)));
        let next = |position: &u32| value_of(hashes[*position as usize], number + 1);
        Self { number, next: by_value.positions.iter().map(next).collect(), by_value }
    }
}

/// The pictures of a band around one value.
#[derive(Debug, Default)]
struct Around {
    positions: Vec<u32>,
    /// Their values of the next band.
    next: Vec<u16>,
    /// How many of them, the first ones, have the value itself; the others differ in one bit.
    equal: usize,
}

impl Around {
    fn gather(&mut self, band: &Band, value: u16) {
        self.positions.clear();
        self.next.clear();
        self.add(band, value);
        self.equal = self.positions.len();
        (0..WIDTH).for_each(|bit| self.add(band, value ^ (1 << bit)));
    }

    fn add(&mut self, band: &Band, value: u16) {
        let range = band.by_value.range(value);
        let range = range.start..range.end.min(range.start + MAX_LOOKED_AT);
        self.positions.extend_from_slice(&band.by_value.positions[range.clone()]);
        self.next.extend_from_slice(&band.next[range]);
    }

    /// Calls `visit` with the positions that are near enough in the next band too.
    fn near(&self, next: u16, mut visit: impl FnMut(u32)) {
        let (equal, others) = self.next.split_at(self.equal);
        for (start, values, radius) in [(0, equal, RADIUS_OF_TWO), (self.equal, others, RADIUS_OF_TWO - 1)] {
            let is_near = |value: u16| (value ^ next).count_ones() <= radius;
            for (number, values) in values.chunks(LANES).enumerate() {
                // Eight at a time, which the compiler makes one comparison of: nearly always none is near.
                if values.as_array::<LANES>().is_some_and(|values| values.map(is_near) == [false; LANES]) {
                    continue;
                }
                let start = start + number * LANES;
                (start..)
                    .zip(values)
                    .filter(|(_, value)| is_near(**value))
                    .for_each(|(at, _)| visit(self.positions[at]));
            }
        }
    }
}

impl HashTable {
    /// A table of these hashes; positions count from 0.
    pub fn new<'a>(hashes: impl Iterator<Item = &'a PerceptualHash>) -> Self {
        let hashes: Vec<u128> = hashes.map(|hash| u128::from_le_bytes(*hash)).collect();
        let bands = (0..BANDS).map(|number| Band::new(&hashes, number)).collect();
        Self { hashes, bands }
    }

    /// For each picture that asks by the hashes of its windows the pictures that differ from one of these in at most
    /// [`MAX_BITS`] bits, nearest first, at most 16. Those who ask are numbers, or positions in this table where they are
    /// its own; such a one is no neighbour of itself.
    pub fn near(
        &self,
        asked: &[(u32, PerceptualHash)],
        are_own: bool,
        cancel: &Cancel,
    ) -> Result<Vec<(u32, Neighbour)>> {
        let mut found = Vec::new();
        for band in &self.bands {
            let values = asked.iter().map(|(_, window)| value_of(u128::from_le_bytes(*window), band.number));
            let by_value = ByValue::new(values);
            found.extend(in_steps(VALUES, cancel, |values, hits| {
                let mut around = Around::default();
                for value in values {
                    let windows = &by_value.positions[by_value.range(value as u16)];
                    if windows.is_empty() {
                        continue;
                    }
                    around.gather(band, value as u16);
                    for &window in windows {
                        let (picture, window) = asked[window as usize];
                        let window = u128::from_le_bytes(window);
                        let own = are_own.then_some(picture);
                        let before = hits.len();
                        around.near(value_of(window, band.number + 1), |position| {
                            let bits = (self.hashes[position as usize] ^ window).count_ones();
                            if bits <= MAX_BITS && Some(position) != own {
                                hits.push((picture, Neighbour { bits, position }));
                            }
                        });
                        keep_nearest(hits, before);
                    }
                }
                Ok(())
            })?);
            // After each band, so that what is found stays small.
            one_each(&mut found);
        }
        Ok(found)
    }
}

/// Of what stands from `start` on at most as many as one picture may give.
fn keep_nearest(found: &mut Vec<(u32, Neighbour)>, start: usize) {
    if found.len() - start > MAX_CANDIDATES {
        found[start..].sort_unstable();
        found.truncate(start + MAX_CANDIDATES);
    }
}

/// For each picture its nearest neighbours, each once.
fn one_each(found: &mut Vec<(u32, Neighbour)>) {
    found.sort_unstable_by_key(|(picture, near)| (*picture, near.position, near.bits));
    found.dedup_by_key(|(picture, near)| (*picture, near.position));
    found.sort_unstable();
    let (mut last, mut count) = (None, 0);
    found.retain(|(picture, _)| {
        count = if last == Some(*picture) { count + 1 } else { 1 };
        last = Some(*picture);
        count <= MAX_CANDIDATES
    });
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn drawn(rng: &mut ChaCha8Rng) -> PerceptualHash {
        (rng.random::<u128>() & ((1 << HASH_BITS) - 1)).to_le_bytes()
    }

    fn near(table: &HashTable, asked: &[(u32, PerceptualHash)], are_own: bool) -> Vec<(u32, Neighbour)> {
        table.near(asked, are_own, &Cancel::default()).expect("no stop")
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
        let own = hashes.iter().zip(0..);
        let asked: Vec<_> = own.flat_map(|(hash, own)| [(own, drawn(&mut rng)), (own, *hash)]).collect();
        let all = near(&table, &asked, true);
        let (mut pairs, mut beyond, mut missed) = (0, 0, 0);
        for (own, windows) in asked.chunks(2).enumerate() {
            let found: Vec<Neighbour> = all.iter().filter(|(of, _)| *of == own as u32).map(|(_, near)| *near).collect();
            let bits = |other: &PerceptualHash| {
                let differ =
                    |window: &PerceptualHash| (u128::from_le_bytes(*window) ^ u128::from_le_bytes(*other)).count_ones();
                windows.iter().map(|(_, window)| differ(window)).min().expect("windows")
            };
            let others = hashes.iter().enumerate().filter(|(position, _)| *position != own);
            let others = others.map(|(position, other)| Neighbour { bits: bits(other), position: position as u32 });
            let mut expected: Vec<Neighbour> = others.filter(|neighbour| neighbour.bits <= MAX_BITS).collect();
            expected.sort_unstable();
            let sure = |neighbours: &[Neighbour]| neighbours.iter().filter(|near| near.bits <= 15).copied().collect();
            let (sure_found, sure_expected): (Vec<Neighbour>, Vec<_>) = (sure(&found), sure(&expected));
            assert_eq!(sure_found, sure_expected, "row {own}");
            assert!(found.iter().all(|near| expected.contains(near)), "row {own}");
            (pairs, beyond) = (pairs + sure_found.len(), beyond + expected.len() - sure_expected.len());
            missed += expected.len() - found.len();
        }
        assert!(pairs > 400 && missed * 10 < beyond, "{pairs} pairs, {missed} of {beyond} missed");
        assert_eq!(near(&HashTable::new([].into_iter()), &asked, false), []);
        assert_eq!(near(&table, &[], false), []);
    }

    #[test]
    fn very_many_equal_hashes_take_no_quadratic_time() {
        let hash = [&[7; 15][..], &[0]].concat().try_into().expect("16 bytes");
        let table = HashTable::new(std::iter::repeat_n(&hash, 100_000));
        let asked: Vec<_> = (0..100_000).step_by(10_000).map(|own| (own, hash)).collect();
        let found = near(&table, &asked, true);
        assert_eq!(found.len(), asked.len() * MAX_CANDIDATES);
        assert!(found.iter().all(|(own, near)| near.bits == 0 && near.position != *own));
        let mut around = Around::default();
        around.gather(&table.bands[0], value_of(u128::from_le_bytes(hash), 0));
        assert_eq!((around.positions.len(), around.equal), (MAX_LOOKED_AT, MAX_LOOKED_AT), "of 100,000");
    }
}
