//! The pictures of a band around one value.

use multiversion::multiversion;

use super::band::{Band, WIDTH, radius};

/// Most images with one value that are gone through.
pub(super) const MAX_LOOKED_AT: usize = 256;
/// Pictures that are compared at a time.
const LANES: usize = 16;
/// Marks a picture that differs in the band itself, beyond the 30 bits of the following two: one bit more.
const DIFFERS: u32 = 1 << (2 * WIDTH);
/// What a band and the next one have of a difference.
const OF_TWO: u32 = DIFFERS | ((1 << WIDTH) - 1);

/// A window that asks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// Who asks.
    pub picture: u32,
    /// See [`following`](super::band::following).
    pub following: u32,
    /// Little-endian.
    pub hash: [u8; 16],
}

/// Two that are near in three bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// Position among those who ask.
    pub asked: u32,
    /// Place around the value.
    pub place: u32,
}

/// The pictures whose band has a value or one that differs from it in one bit.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// Of each picture the following two bands, with [`DIFFERS`].
    following: Vec<u32>,
    /// For each value the place of its first picture here, and in the band.
    parts: Vec<(usize, usize)>,
}

impl Around {
    pub fn gather(&mut self, band: &Band, value: u16) {
        self.following.clear();
        self.parts.clear();
        self.add(band, value, 0);
        (0..WIDTH).for_each(|bit| self.add(band, value ^ (1 << bit), DIFFERS));
    }

    fn add(&mut self, band: &Band, value: u16, mark: u32) {
        self.parts.push((self.following.len(), band.entries.start(value)));
        let entries = band.entries.of(value).iter().take(MAX_LOOKED_AT);
        self.following.extend(entries.map(|entry| entry.following | mark));
    }

    /// Number of pictures.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.following.len()
    }

    /// All pairs of those who ask with pictures that are near in this band and the following two.
    pub fn near(&self, asked: &[Asked], pairs: &mut Vec<Pair>) {
        pairs.clear();
        near(&self.following, asked, pairs);
    }

    /// Position in the table of the picture at a place.
    pub fn position(&self, band: &Band, place: u32) -> u32 {
        let place = place as usize;
        let part = self.parts.partition_point(|(first, _)| *first <= place) - 1;
        let (first, in_band) = self.parts[part];
        band.entries.at(in_band + place - first).position
    }
}

/// Compiled for each set of instructions that can compare 16 at a time.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512vpopcntdq+avx2+popcnt", "x86_64+avx2+popcnt",))]
fn near(following: &[u32], asked: &[Asked], pairs: &mut Vec<Pair>) {
    let (chunks, rest) = following.as_chunks::<LANES>();
    for (number, asked) in (0..).zip(asked) {
        for (at, chunk) in chunks.iter().enumerate() {
            // Nearly always none is near.
            if chunk.iter().fold(false, |any, value| any | is_near(value ^ asked.following)) {
                push(chunk, at * LANES, (number, asked.following), pairs);
            }
        }
        push(rest, chunks.len() * LANES, (number, asked.following), pairs);
    }
}

/// Whether a difference of the following two bands, together with the band itself, is small enough for three bands.
#[inline(always)]
fn is_near(difference: u32) -> bool {
    difference.count_ones() <= radius(3)
}

/// The pairs of one who asks with some of the pictures, the first of which stands at `first`.
#[inline(never)]
fn push(values: &[u32], first: usize, (asked, following): (u32, u32), pairs: &mut Vec<Pair>) {
    for (place, value) in (first..).zip(values) {
        let difference = value ^ following;
        if is_near(difference) && (difference & OF_TWO).count_ones() <= radius(2) {
            pairs.push(Pair { asked, place: place as u32 });
        }
    }
}
