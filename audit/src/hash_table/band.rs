//! One band of many hashes.

use super::neighbour::MAX_BITS;
use crate::inspection::HASH_BITS;

/// Bands of a hash, 15 bits each: up to 15 bits of difference leave one of them with at most one. Of 16 and 17 bits
/// nearly all do.
pub(super) const BANDS: u32 = 8;
/// Bits of a band.
pub(super) const WIDTH: u32 = HASH_BITS / BANDS;
/// Values of a band.
pub(super) const VALUES: usize = 1 << WIDTH;

/// Most bits that may differ in so many bands together, from the band on at which the ring of bands begins.
pub(super) const fn radius(bands: u32) -> u32 {
    bands * MAX_BITS / BANDS
}

/// Value of a band of a hash.
pub(super) fn value_of(hash: u128, band: u32) -> u16 {
    ((hash >> (band * WIDTH)) & (VALUES as u128 - 1)) as u16
}

/// Values of the two bands after a band, the next one's in the lower 15 bits. The first band follows the last.
pub(super) fn following(hash: u128, band: u32) -> u32 {
    let value = |after: u32| u32::from(value_of(hash, (band + after) % BANDS));
    value(1) | value(2) << WIDTH
}

/// Things by the value of a band.
#[derive(Debug)]
pub(super) struct ByValue<T> {
    /// For each value where its things begin, and where the last ones end.
    starts: Vec<u32>,
    /// For each value in the order in which they came.
    things: Vec<T>,
}

impl<T: Clone + Default> ByValue<T> {
    /// Sorts things with their values.
    pub fn new(things: impl ExactSizeIterator<Item = (u16, T)> + Clone) -> Self {
        // Counting sort: how many before each value, then each thing to its place.
        let mut starts = vec![0; VALUES + 1];
        for (value, _) in things.clone() {
            starts[usize::from(value) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let (mut ends, mut sorted) = (starts.clone(), vec![T::default(); things.len()]);
        for (value, thing) in things {
            let end = &mut ends[usize::from(value)];
            sorted[*end as usize] = thing;
            *end += 1;
        }
        Self { starts, things: sorted }
    }
}

impl<T> ByValue<T> {
    /// The things with this value.
    pub fn of(&self, value: u16) -> &[T] {
        &self.things[self.start(value)..self.starts[usize::from(value) + 1] as usize]
    }

    /// How many things come before those with this value.
    pub fn start(&self, value: u16) -> usize {
        self.starts[usize::from(value)] as usize
    }

    /// A thing by its place in the order of the values.
    pub fn at(&self, place: usize) -> &T {
        &self.things[place]
    }
}

/// A hash of the table in a band.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    /// Position in the table.
    pub position: u32,
    /// See [`following`].
    pub following: u32,
}

/// The table's hashes by the value of one band.
#[derive(Debug)]
pub(super) struct Band {
    /// Which of the bands.
    pub number: u32,
    /// The hashes.
    pub entries: ByValue<Entry>,
}

impl Band {
    pub fn new(hashes: &[u128], number: u32) -> Self {
        let entry = |(position, hash): (usize, &u128)| {
            (value_of(*hash, number), Entry { position: position as u32, following: following(*hash, number) })
        };
        Self { number, entries: ByValue::new(hashes.iter().enumerate().map(entry)) }
    }
}
