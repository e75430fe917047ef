//! Winograd's convolution for kernels of 3x3 with stride 1 on a CPU with AVX2: Lavin and Gray, *Fast Algorithms for Convolutional
//! Neural Networks* (arXiv 1509.09308), F(4x4, 3x3).
//!
//! A tile of 4x4 outputs takes 36 multiplications for each pair of channels instead of 144. Neither oneDNN nor the other engines
//! for CPUs have it for AVX2, where their direct convolutions already run near the processor's peak, so it is the one way left to be
//! faster. The price: weights take four times their memory (all workers share them), and sums are less exact by a digit (1e-5 of
//! a typical output instead of 2e-6).
//!
//! Images are cut into blocks of tiles, small enough for the first caches: each block is transformed, multiplied and transformed
//! back before the next, with bias, residual sum and rectifier on the way out. `cargo bench --bench parts` measures it beside
//! oneDNN's.

mod filters;
mod multiply;
mod transform;

use std::cell::RefCell;
use std::mem::MaybeUninit;

use tch::{Kind, Tensor};

use self::filters::Filters;
use self::transform::{LANES, POINTS, TILE, WINDOW};
use super::fused::After;
use super::layers::ConvShape;
use super::values;
use crate::error::{Error, Result};

/// Tiles that are multiplied together. Two rounds of the kernel's six: more would leave the first cache.
const BLOCK: usize = 12;
/// The same where the filters themselves leave the second cache: each block reads all of them.
const BLOCK_OF_LARGE: usize = 48;
/// Bytes of filters that count as large.
const LARGE_FILTERS: usize = 8 << 20;
/// Floats between the blocks of two of the 36 points, so that they do not all lie at the same place of a cache.
const GAP: usize = 16;

/// Weights of one convolution in Winograd's domain, and its bias.
#[derive(Debug)]
pub(super) struct Winograd {
    filters: Filters,
    bias: Vec<f32>,
}

/// What happens to the sums on their way out.
#[derive(Debug, Clone, Copy)]
enum Ending<'a> {
    Nothing,
    Relu,
    /// Adds these, laid out as the output, before the rectifier.
    AddRelu(&'a [f32]),
}

/// Where the tiles of a batch lie.
#[derive(Debug, Clone, Copy)]
struct Grid {
    images: usize,
    height: usize,
    width: usize,
}

/// Tiles in the transformed domain, kept by each thread for the next layer.
#[derive(Debug, Default)]
struct Scratch {
    inputs: Vec<f32>,
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Winograd {
    /// Whether a convolution of images of this size is computed here: the kernel's shape fits, the processor has the
    /// instructions, and most of a tile is not wasted.
    pub fn suits(shape: ConvShape, height: i64, width: i64) -> bool {
        let ConvShape { inputs, outputs, kernel, stride, padding, .. } = shape;
        let channels = inputs % LANES as i64 == 0 && outputs % multiply::COLUMNS as i64 == 0;
        (kernel, stride, padding) == (3, 1, 1) && channels && height.min(width) > 2 && available()
    }

    /// Transforms weights `[C_out, C_in, 3, 3]` f32 on the CPU; bias `[C_out]`.
    pub fn new(weight: &Tensor, bias: &Tensor, shape: ConvShape) -> Result<Self> {
        let plain = Vec::<f32>::try_from(&weight.f_contiguous()?.f_reshape([-1])?)?;
        let filters = Filters::new(&plain, shape.inputs as usize, shape.outputs as usize);
        Ok(Self { filters, bias: Vec::try_from(bias)? })
    }

    /// `[B, C_in, H, W]` to `[B, C_out, H, W]`, channels-last both.
    pub fn forward(&self, input: &Tensor, after: After<'_>) -> Result<Tensor> {
        let (images, channels, height, width) = input.size4()?;
        let outputs = self.filters.outputs as i64;
        if channels != self.filters.inputs as i64 || !available() {
            return Err(Error::Internal(format!("{channels} channels instead of {}", self.filters.inputs)));
        }
        let input = input.f_permute([0, 2, 3, 1])?.f_to_kind(Kind::Float)?.f_contiguous()?;
        let other = match after {
            After::AddRelu(other) => Some(other.f_permute([0, 2, 3, 1])?.f_contiguous()?),
            _ => None,
        };
        let ending = match (&other, &after) {
            (Some(other), _) if other.size() == [images, height, width, outputs] => Ending::AddRelu(values::of(other)?),
            (Some(other), _) => return Err(Error::Internal(format!("a residual sum of {:?}", other.size()))),
            (None, After::Relu) => Ending::Relu,
            (None, _) => Ending::Nothing,
        };
        let grid = Grid { images: images as usize, height: height as usize, width: width as usize };
        let output = values::written(&[images, height, width, outputs], |output| {
            let input = values::of(&input)?;
            SCRATCH.with_borrow_mut(|scratch| {
                // SAFETY: `available` has found the instructions that the function is compiled for.
                unsafe { self.convolve(input, grid, ending, output, scratch) }
            });
            Ok(())
        })?;
        Ok(output.f_permute([0, 3, 1, 2])?)
    }

    /// Writes every value of `output`.
    #[target_feature(enable = "avx2,fma")]
    fn convolve(
        &self,
        input: &[f32],
        grid: Grid,
        ending: Ending<'_>,
        output: &mut [MaybeUninit<f32>],
        scratch: &mut Scratch,
    ) {
        let (inputs, outputs) = (self.filters.inputs, self.filters.outputs);
        let block = if self.filters.bytes() > LARGE_FILTERS { BLOCK_OF_LARGE } else { BLOCK };
        let (input_stride, sum_stride) = (block * inputs + GAP, block * outputs + GAP);
        scratch.inputs.resize(POINTS * input_stride, 0.0);
        scratch.sums.resize(POINTS * sum_stride, 0.0);
        let tiles = grid.tiles();
        for first in (0..tiles).step_by(block) {
            let count = block.min(tiles - first);
            for tile in 0..count {
                let to = &mut scratch.inputs[tile * inputs..];
                transform_in(input, grid, grid.place(first + tile), inputs, to, input_stride);
            }
            for point in 0..POINTS {
                let rows = &scratch.inputs[point * input_stride..][..count * inputs];
                let sums = &mut scratch.sums[point * sum_stride..][..count * outputs];
                multiply::rows(rows, self.filters.point(point), inputs, sums);
            }
            for tile in 0..count {
                let from = &scratch.sums[tile * outputs..];
                transform_out(from, sum_stride, &self.bias, grid, grid.place(first + tile), ending, output);
            }
        }
    }
}

/// Whether this processor has the instructions that the kernel is compiled for.
fn available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// One tile's place: the image and the first row and column of its outputs.
#[derive(Debug, Clone, Copy)]
struct Place {
    image: usize,
    top: usize,
    left: usize,
}

impl Grid {
    fn tiles(self) -> usize {
        self.images * self.height.div_ceil(TILE) * self.width.div_ceil(TILE)
    }

    #[inline(always)]
    fn place(self, tile: usize) -> Place {
        let (down, across) = (self.height.div_ceil(TILE), self.width.div_ceil(TILE));
        let within = tile % (down * across);
        Place { image: tile / (down * across), top: within / across * TILE, left: within % across * TILE }
    }

    /// Where the channels of a pixel begin.
    #[inline(always)]
    fn offset(self, image: usize, row: usize, column: usize, channels: usize) -> usize {
        ((image * self.height + row) * self.width + column) * channels
    }
}

/// Transforms the window of one tile, all channels; values of point `p` go to `to[p * stride..]`.
#[inline(always)]
fn transform_in(input: &[f32], grid: Grid, place: Place, channels: usize, to: &mut [f32], stride: usize) {
    // The window begins one pixel before the tile. Outside the image are zeros; rows and columns before 0 wrap to large numbers.
    let (top, left) = (place.top.wrapping_sub(1), place.left.wrapping_sub(1));
    let inside = top < grid.height && left < grid.width && top + WINDOW <= grid.height && left + WINDOW <= grid.width;
    for channel in (0..channels).step_by(LANES) {
        let mut window = [[[0.0; LANES]; WINDOW]; WINDOW];
        if inside {
            // The common case, apart so that nothing is asked for each pixel.
            let first = &input[grid.offset(place.image, top, left, channels) + channel..];
            for (row, pixels) in window.iter_mut().enumerate() {
                let line = &first[row * grid.width * channels..][..(WINDOW - 1) * channels + LANES];
                for (column, pixel) in pixels.iter_mut().enumerate() {
                    pixel.copy_from_slice(&line[column * channels..][..LANES]);
                }
            }
        } else {
            for (row, pixels) in window.iter_mut().enumerate() {
                for (column, pixel) in pixels.iter_mut().enumerate() {
                    let (row, column) = (top.wrapping_add(row), left.wrapping_add(column));
                    if row < grid.height && column < grid.width {
                        let from = grid.offset(place.image, row, column, channels) + channel;
                        pixel.copy_from_slice(&input[from..][..LANES]);
                    }
                }
            }
        }
        for (row, values) in transform::input(window).iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                to[(row * WINDOW + column) * stride + channel..][..LANES].copy_from_slice(value);
            }
        }
    }
}

/// Transforms one tile's sums back and writes its outputs; sums of point `p` lie at `from[p * stride..]`.
#[inline(always)]
fn transform_out(
    from: &[f32],
    stride: usize,
    bias: &[f32],
    grid: Grid,
    place: Place,
    ending: Ending<'_>,
    output: &mut [MaybeUninit<f32>],
) {
    let channels = bias.len();
    let (rows, columns) = (TILE.min(grid.height - place.top), TILE.min(grid.width - place.left));
    for channel in (0..channels).step_by(LANES) {
        let mut sums = [[[0.0; LANES]; WINDOW]; WINDOW];
        for (row, values) in sums.iter_mut().enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                value.copy_from_slice(&from[(row * WINDOW + column) * stride + channel..][..LANES]);
            }
        }
        let bias = &bias[channel..][..LANES];
        let tile = transform::output(sums);
        for (row, values) in tile.iter().enumerate().take(rows) {
            for (column, value) in values.iter().enumerate().take(columns) {
                let at = grid.offset(place.image, place.top + row, place.left + column, channels) + channel;
                let mut value = *value;
                for (value, bias) in value.iter_mut().zip(bias) {
                    *value += bias;
                }
                if let Ending::AddRelu(other) = ending {
                    for (value, other) in value.iter_mut().zip(&other[at..][..LANES]) {
                        *value += other;
                    }
                }
                if !matches!(ending, Ending::Nothing) {
                    for value in &mut value {
                        *value = rectified(*value);
                    }
                }
                output[at..][..LANES].write_copy_of_slice(&value);
            }
        }
    }
}

/// Not `max`, which would turn what is not a number into 0 and hide it.
#[inline(always)]
fn rectified(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}
