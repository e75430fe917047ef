//! Perceptual hashes of pictures, to be asked for those near to others.
//!
//! Multi-index hashing (Norouzi, Punjani, Fleet 2012): hashes are cut into bands, and two hashes that differ in at most
//! d bits differ in at most d / bands bits in one band at least. Each band is a table that is asked for the band's
//! value and for all values within that radius. What a look-up meets has little to do with the picture otherwise, one
//! in 32,768 images, so the next two bands are looked at before the whole hash: with the bands in a ring there is one
//! from which on each number of bands has no more than its share of the d bits (Qin, Xiao 2018, the pigeonring
//! principle).
//!
//! Many hashes ask at a time, in the order of their bands' values: those with the same value have the same look-ups,
//! whose results are gathered once, so that the processor compares them with 16 pictures at a time: among a million
//! pictures that is over a hundred thousand comparisons for each. A look-up goes through a bounded number of images, so
//! that the time stays linear where very many hashes share a band; such pairs mostly still meet in another band.

mod around;
mod band;
mod neighbour;

use around::{Around, Asked};
use band::{BANDS, Band, ByValue, VALUES, following, value_of};
use neighbour::MAX_BITS;
pub(super) use neighbour::Neighbour;

use super::inspection::PerceptualHash;
use super::parallel::in_steps;
use dismax::cancel::Cancel;
use dismax::error::Result;

/// Most candidates that one picture gives.
const MAX_CANDIDATES: usize = 16;
/// Windows that ask at a time of those with the same value, so that what they find stays small.
const WINDOWS: usize = 64;

/// Hashes of pictures.
#[derive(Debug)]
pub(super) struct HashTable {
    hashes: Vec<u128>,
    bands: Vec<Band>,
}

impl HashTable {
    /// A table of these hashes; positions count from 0.
    pub fn new<'a>(hashes: impl Iterator<Item = &'a PerceptualHash>) -> Self {
        let hashes: Vec<u128> = hashes.map(|hash| u128::from_le_bytes(*hash)).collect();
        let bands = (0..BANDS).map(|number| Band::new(&hashes, number)).collect();
        Self { hashes, bands }
    }

    /// For each picture that asks by the hashes of its windows the pictures that differ from one of these in at most
    /// [`MAX_BITS`] bits, nearest first, at most 16. Those who ask are numbers, or positions in this table where they
    /// are its own; such a one is no neighbour of itself.
    pub fn near(
        &self,
        asked: &[(u32, PerceptualHash)],
        are_own: bool,
        cancel: &Cancel,
    ) -> Result<Vec<(u32, Neighbour)>> {
        let mut found = Vec::new();
        for band in &self.bands {
            let ask = |(picture, window): &(u32, PerceptualHash)| {
                let hash = u128::from_le_bytes(*window);
                let following = following(hash, band.number);
                (value_of(hash, band.number), Asked { picture: *picture, following, hash: *window })
            };
            let asked = ByValue::new(asked.iter().map(ask));
            found.extend(in_steps(VALUES, cancel, |values, hits| {
                let (mut around, mut pairs) = (Around::default(), Vec::new());
                for value in values.map(|value| value as u16) {
                    let asked = asked.of(value);
                    if !asked.is_empty() {
                        around.gather(band, value);
                    }
                    for asked in asked.chunks(WINDOWS) {
                        around.near(asked, &mut pairs);
                        for pairs in pairs.chunk_by(|a, b| a.asked == b.asked) {
                            let before = hits.len();
                            hits.extend(pairs.iter().filter_map(|pair| {
                                let asked = &asked[pair.asked as usize];
                                let near = self.neighbour(asked, around.position(band, pair.place));
                                near.filter(|near| !are_own || near.position != asked.picture)
                                    .map(|near| (asked.picture, near))
                            }));
                            keep_nearest(hits, before);
                        }
                    }
                }
                Ok(())
            })?);
            // After each band, so that what is found stays small.
            one_each(&mut found);
        }
        Ok(found)
    }

    /// The picture at this position, if its whole hash is near.
    fn neighbour(&self, asked: &Asked, position: u32) -> Option<Neighbour> {
        let bits = (self.hashes[position as usize] ^ u128::from_le_bytes(asked.hash)).count_ones();
        (bits <= MAX_BITS).then_some(Neighbour { bits, position })
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
    use crate::inspection::HASH_BITS;

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
        assert_eq!(around.len(), around::MAX_LOOKED_AT, "of 100,000");
    }
}
