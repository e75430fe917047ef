//! Perceptual hashes of all windows of a picture at once.
//!
//! A window is resampled to 22 x 22 pixels, and its hash says which of the lower frequencies of their discrete cosine
//! transform are positive (pHash; Zauner 2010, section 3.2.1). Both steps are linear and take rows and columns apart,
//! so that they are one small matrix for each axis, which is made once for each length of a side. All windows of one
//! size share the sums over the columns, so that 27 hashes cost about two products of such matrices for each of three
//! sizes.

use std::array;
use std::f64::consts::PI;

use super::window::{Window, WindowSize};

/// A perceptual hash: which low frequencies of the picture's luma are positive, 120 bits. Few bits differ between two
/// encodings of a picture.
pub type PerceptualHash = [u8; 16];

/// Bits of a hash: the frequencies without that of the mean, which is the picture's light.
pub(crate) const HASH_BITS: u32 = (FREQUENCIES * FREQUENCIES - 1) as u32;

/// Frequencies in each direction.
const FREQUENCIES: usize = 11;
/// Pixels that a window is resampled to in each direction; the hash keeps the lower half of their frequencies.
const SAMPLES: usize = 2 * FREQUENCIES;
/// Windows of a size along an axis.
const PLACES: usize = 3;
/// Rows of an axis's matrix: the frequencies of each place.
const ROWS: usize = PLACES * FREQUENCIES;
/// The same as vectors of four.
const LANES: usize = ROWS.next_multiple_of(4);
/// What is taken from grey values, so that sums stay small.
const GREY: f32 = 128.0;
/// A wave of 1/242 of a grey value: what a coefficient must have to count as positive. Where a picture has nothing of a
/// frequency, rounding would decide.
const LEAST: f32 = 0.5;

/// Hashes pictures of at most `most` pixels a side.
pub(super) struct Hasher {
    /// By length of a side.
    axes: Vec<Option<Box<[Axis; 3]>>>,
    grey: Vec<f32>,
    columns: Vec<[f32; LANES]>,
    coefficients: Vec<[f32; LANES]>,
}

/// The matrix that turns the pixels along one side into the frequencies of the windows of one size.
struct Axis {
    /// `[ROWS, length]`, row by row.
    matrix: Vec<f32>,
    /// The same with rows and columns exchanged: `[length, ROWS]`.
    transposed: Vec<[f32; LANES]>,
}

impl Axis {
    fn new(length: usize, size: WindowSize) -> Self {
        let mut matrix = Vec::with_capacity(ROWS * length);
        for (start, share) in size.spans() {
            let samples = resampling(length, start, share);
            for frequency in 0..FREQUENCIES {
                let wave = |sample: usize| (PI / SAMPLES as f64 * (sample as f64 + 0.5) * frequency as f64).cos();
                let weight = |at: usize| samples.iter().enumerate().map(|(sample, row)| wave(sample) * row[at]).sum();
                matrix.extend((0..length).map(weight).map(|weight: f64| weight as f32));
            }
        }
        let row_or_none = |at: usize, row: usize| if row < ROWS { matrix[row * length + at] } else { 0.0 };
        let transposed = (0..length).map(|at| array::from_fn(|row| row_or_none(at, row))).collect();
        Self { matrix, transposed }
    }
}

/// Weights of the pixels of a side for each sample of a part of it: bilinear with antialiasing, as in Pillow.
fn resampling(length: usize, start: f64, share: f64) -> [Vec<f64>; SAMPLES] {
    let (start, step) = (start * length as f64, share * length as f64 / SAMPLES as f64);
    let reach = step.max(1.0);
    array::from_fn(|sample| {
        let centre = start + (sample as f64 + 0.5) * step;
        let weight = |at: usize| (1.0 - ((at as f64 + 0.5 - centre) / reach).abs()).max(0.0);
        let weights: Vec<f64> = (0..length).map(weight).collect();
        // At least one pixel lies within reach of a point between the first and the last.
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    })
}

impl Hasher {
    pub fn new(most: u32) -> Self {
        let axes = (0..=most).map(|_| None).collect();
        Self { axes, grey: Vec::new(), columns: Vec::new(), coefficients: Vec::new() }
    }

    /// The hashes of [`Window::all`] in a picture of `width` pixels a row, of which `luma` has those of whole rows.
    /// None where a side is longer than was said.
    pub fn hash(&mut self, luma: &[u8], width: usize) -> Option<Vec<PerceptualHash>> {
        let height = luma.len() / width.max(1);
        for length in [width, height] {
            let axis = self.axes.get_mut(length)?;
            axis.get_or_insert_with(|| Box::new(WindowSize::ALL.map(|size| Axis::new(length, size))));
        }
        let Self { axes, grey, columns, coefficients } = self;
        let (across, down) = (axes.get(width)?.as_ref()?, axes.get(height)?.as_ref()?);
        grey.clear();
        grey.extend(luma.iter().map(|value| f32::from(*value) - GREY));
        let mut hashes = Vec::with_capacity(Window::all().count());
        for (across, down) in across.iter().zip(down.iter()) {
            product(grey, &across.transposed, columns);
            product(&down.matrix, columns, coefficients);
            for rows in coefficients.chunks_exact(FREQUENCIES) {
                hashes.extend((0..PLACES).map(|place| bits(rows, place * FREQUENCIES)));
            }
        }
        Some(hashes)
    }
}

/// The matrix product of `left` (row by row, with as many columns as `right` has rows) and `right`.
fn product(left: &[f32], right: &[[f32; LANES]], out: &mut Vec<[f32; LANES]>) {
    out.clear();
    out.extend(left.chunks_exact(right.len()).map(|row| {
        let mut sums = [0.0; LANES];
        for (factor, values) in row.iter().zip(right) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += factor * value;
            }
        }
        sums
    }));
}

/// Of 11 rows of coefficients the 11 columns from `first` as a hash.
fn bits(rows: &[[f32; LANES]], first: usize) -> PerceptualHash {
    let values = rows.iter().flat_map(|row| &row[first..first + FREQUENCIES]);
    let set = values.skip(1).enumerate().map(|(bit, value)| u128::from(*value > LEAST) << bit);
    set.fold(0, |hash, bit| hash | bit).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, one window and one coefficient after the other.
    #[test]
    fn hashes_are_those_of_the_definition() {
        let (width, height) = (40, 31);
        let luma: Vec<u8> = (0..width * height).map(|at: usize| (at * at % 251) as u8).collect();
        let hashes = Hasher::new(64).hash(&luma, width).expect("a small picture");
        for (window, hash) in Window::all().zip(hashes) {
            let ((left, share), (top, _)) = (window.size.span(window.column), window.size.span(window.row));
            let (across, down) = (resampling(width, left, share), resampling(height, top, share));
            let mut expected = 0u128;
            for bit in 0..HASH_BITS as usize {
                let wave = |sample: usize, frequency: usize| {
                    (PI * (sample as f64 + 0.5) * frequency as f64 / SAMPLES as f64).cos()
                };
                let (row, column) = ((bit + 1) / FREQUENCIES, (bit + 1) % FREQUENCIES);
                let mut sum = 0.0;
                for (y, down) in down.iter().enumerate() {
                    for (x, across) in across.iter().enumerate() {
                        let grey = |at: usize| f64::from(luma[at]);
                        let line = |r: usize| (0..width).map(|c| across[c] * grey(r * width + c)).sum::<f64>();
                        let pixel: f64 = (0..height).filter(|r| down[*r] > 0.0).map(|r| down[r] * line(r)).sum();
                        sum += wave(y, row) * wave(x, column) * pixel;
                    }
                }
                expected |= u128::from(sum > f64::from(LEAST)) << bit;
            }
            assert_eq!(u128::from_le_bytes(hash), expected, "{window:?}");
        }
    }

    #[test]
    fn any_size_has_hashes_and_one_tone_has_no_bit() {
        let mut hasher = Hasher::new(64);
        for (width, height) in [(1, 1), (64, 1), (1, 64), (64, 64), (3, 50)] {
            let hashes = hasher.hash(&vec![200; width * height], width).expect("a small picture");
            assert_eq!(hashes, [[0; 16]; 27], "{width} x {height}");
        }
        assert_eq!(hasher.hash(&[0; 65], 65), None);
    }
}
