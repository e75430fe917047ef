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

use tch::Tensor;

use self::filters::Filters;
use self::transform::{LANES, Lanes, POINTS, TILE, WINDOW, six};
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

/// Eight channels of so many tiles at the 36 points.
type Block<const TILES: usize> = [[Lanes; TILES]; POINTS];

/// Weights of one convolution in Winograd's domain, and its bias.
#[derive(Debug)]
pub(super) struct Winograd {
    filters: Filters,
    bias: Vec<Lanes>,
}

/// What happens to the sums on their way out.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Nothing,
    Relu,
    /// What the output held before is added, then the rectifier.
    AddRelu,
}

/// Where the tiles of a batch lie.
#[derive(Debug, Clone, Copy)]
struct Grid {
    images: usize,
    height: usize,
    width: usize,
}

/// Tiles in the transformed domain, kept by each thread for the next layer: for each eight channels a [`Block`].
#[derive(Debug, Default)]
struct Scratch {
    inputs: Vec<f32>,
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first `count` blocks of a scratch buffer, which grows for them.
fn blocks<const TILES: usize>(buffer: &mut Vec<f32>, count: usize) -> &mut [Block<TILES>] {
    let values = count * POINTS * TILES * LANES;
    if buffer.len() < values {
        buffer.resize(values, 0.0);
    }
    let (lanes, _) = buffer[..values].as_chunks_mut::<LANES>();
    let (rows, _) = lanes.as_chunks_mut::<TILES>();
    rows.as_chunks_mut::<POINTS>().0
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
        let bias = Vec::<f32>::try_from(bias)?.as_chunks().0.to_vec();
        Ok(Self { filters, bias })
    }

    /// `[B, C_in, H, W]` to `[B, C_out, H, W]`, channels-last both.
    pub fn forward(&self, input: &Tensor, after: After<'_>) -> Result<Tensor> {
        let (images, channels, height, width) = input.size4()?;
        let outputs = self.filters.outputs as i64;
        if channels != self.filters.inputs as i64 || !available() {
            return Err(Error::Internal(format!("{channels} channels instead of {}", self.filters.inputs)));
        }
        let input = input.f_permute([0, 2, 3, 1])?.f_contiguous()?;
        let size = [images, height, width, outputs];
        let (mut output, ending) = match after {
            After::Nothing => (values::unwritten(&size)?, Ending::Nothing),
            After::Relu => (values::unwritten(&size)?, Ending::Relu),
            // In place: half of a residual network's layers need no new memory.
            After::AddRelu(other) => (other.f_permute([0, 2, 3, 1])?.f_contiguous()?, Ending::AddRelu),
        };
        if output.size() != size || output.data_ptr() == input.data_ptr() {
            return Err(Error::Internal(format!("a sum of {:?} with {:?}", output.size(), size)));
        }
        let grid = Grid { images: images as usize, height: height as usize, width: width as usize };
        let (from, to) = (values::of(&input)?, values::of_mut(&mut output)?);
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: `available` has found the instructions that the functions are compiled for.
            unsafe {
                match self.filters.bytes() > LARGE_FILTERS {
                    true => self.convolve::<BLOCK_OF_LARGE>(from, grid, ending, to, scratch),
                    false => self.convolve::<BLOCK>(from, grid, ending, to, scratch),
                }
            }
        });
        Ok(output.f_permute([0, 3, 1, 2])?)
    }

    /// Writes every value of `output`.
    #[target_feature(enable = "avx2,fma")]
    fn convolve<const TILES: usize>(
        &self,
        input: &[f32],
        grid: Grid,
        ending: Ending,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let inputs = blocks::<TILES>(&mut scratch.inputs, self.filters.inputs / LANES);
        let sums = blocks::<TILES>(&mut scratch.sums, self.bias.len());
        let tiles = grid.tiles();
        for first in (0..tiles).step_by(TILES) {
            let count = TILES.min(tiles - first);
            for tile in 0..count {
                transform_in(input, grid, grid.place(first + tile), tile, inputs);
            }
            for point in 0..POINTS {
                multiply::tiles(inputs, self.filters.point(point), point, count, sums);
            }
            for tile in 0..count {
                transform_out(sums, tile, &self.bias, grid, grid.place(first + tile), ending, output);
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

/// Transforms the window of one tile, all channels.
#[inline(always)]
fn transform_in<const TILES: usize>(input: &[f32], grid: Grid, place: Place, tile: usize, to: &mut [Block<TILES>]) {
    // The window begins one pixel before the tile. Outside the image are zeros; rows and columns before 0 wrap to large numbers.
    let (top, left) = (place.top.wrapping_sub(1), place.left.wrapping_sub(1));
    let inside = top < grid.height && left < grid.width && top + WINDOW <= grid.height && left + WINDOW <= grid.width;
    let channels = to.len() * LANES;
    for (index, to) in to.iter_mut().enumerate() {
        let channel = index * LANES;
        let window = if inside {
            // The common case, apart so that nothing is asked for each pixel.
            let first = &input[grid.offset(place.image, top, left, channels) + channel..];
            let line = grid.width * channels;
            six!(ROW => {
                let pixels = &first[ROW * line..][..(WINDOW - 1) * channels + LANES];
                six!(COLUMN => lanes(&pixels[COLUMN * channels..]))
            })
        } else {
            six!(ROW => six!(COLUMN => {
                let (row, column) = (top.wrapping_add(ROW), left.wrapping_add(COLUMN));
                match row < grid.height && column < grid.width {
                    true => lanes(&input[grid.offset(place.image, row, column, channels) + channel..]),
                    false => [0.0; LANES],
                }
            }))
        };
        let points = transform::input(window);
        for (to, values) in to.iter_mut().zip(points.as_flattened()) {
            to[tile] = *values;
        }
    }
}

/// Transforms one tile's sums back and writes its outputs.
#[inline(always)]
fn transform_out<const TILES: usize>(
    from: &[Block<TILES>],
    tile: usize,
    bias: &[Lanes],
    grid: Grid,
    place: Place,
    ending: Ending,
    output: &mut [f32],
) {
    let channels = bias.len() * LANES;
    let (rows, columns) = (TILE.min(grid.height - place.top), TILE.min(grid.width - place.left));
    for (index, (from, bias)) in from.iter().zip(bias).enumerate() {
        let sums = six!(COLUMN => six!(ROW => from[COLUMN * WINDOW + ROW][tile]));
        let outputs = transform::output(sums);
        for (row, values) in outputs.iter().enumerate().take(rows) {
            let first = grid.offset(place.image, place.top + row, place.left, channels) + index * LANES;
            for (column, value) in values.iter().enumerate().take(columns) {
                let at = first + column * channels;
                let mut value = transform::add(*value, *bias);
                if matches!(ending, Ending::AddRelu) {
                    value = transform::add(value, lanes(&output[at..]));
                }
                if !matches!(ending, Ending::Nothing) {
                    value = rectified(value);
                }
                output[at..][..LANES].copy_from_slice(&value);
            }
        }
    }
}

/// The first eight values.
#[inline(always)]
fn lanes(values: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&values[..LANES]);
    lanes
}

/// Not `max`, which would turn what is not a number into 0 and hide it.
#[inline(always)]
fn rectified(mut values: Lanes) -> Lanes {
    for value in &mut values {
        *value = if *value < 0.0 { 0.0 } else { *value };
    }
    values
}
