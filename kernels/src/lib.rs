//! Winograd's convolution for kernels of 3x3 with stride 1 on a CPU with AVX2: Lavin and Gray, *Fast Algorithms for Convolutional
//! Neural Networks* (arXiv 1509.09308), F(4x4, 3x3).
//!
//! A tile of 4x4 outputs takes 36 multiplications for each pair of channels instead of 144. oneDNN's direct convolutions come near
//! the peak of a processor with AVX2 on most layers (up to 97 of about 100 GFLOP/s on a core), so fewer multiplications are what is
//! left to gain: on one thread 1.4 to 3 times its images (16 channels of 32x32: 1.4; 64 of 8x8: 3.0; 512 of 4x4: 2.7;
//! `cargo bench --bench parts`). The price: weights take four times their memory (all workers share them), and sums are less exact
//! by a digit (1e-5 of a typical output instead of 2e-6).
//!
//! Images are cut into blocks of tiles, small enough for the first caches: each block is transformed, multiplied and transformed
//! back before the next, with bias, residual sum and rectifier on the way out.
//!
//! The same code is compiled for AVX-512, where sixteen channels take one register. For training there are the gradient of the weights and batch
//! norm with what follows it; what these gain was measured with AVX-512 only, where they do not.
//!
//! A crate of its own, so that it is compiled with all optimisation also in development.

mod filters;
mod gradient;
mod instructions;
mod multiply;
mod norm;
#[cfg(test)]
mod tests;
mod transform;

use std::cell::RefCell;

use self::filters::Filters;
pub use self::gradient::weight_gradient;
use self::instructions::Instructions;
pub use self::instructions::{available, has_avx512};
pub use self::norm::{Normalization, Normalized};
use self::transform::{LANES, Lanes, POINTS, TILE, WINDOW, six};

/// Input channels are a multiple of this.
pub const INPUT_CHANNELS: usize = LANES;
/// Output channels are a multiple of this.
pub const OUTPUT_CHANNELS: usize = multiply::COLUMNS;

/// Tiles that are multiplied together, a multiple of the rows of each kernel: more would leave the first cache.
const BLOCK: usize = 12;
/// The same where the filters themselves leave the second cache: each block reads all of them.
const BLOCK_OF_LARGE: usize = 48;
/// Bytes of filters that count as large.
const LARGE_FILTERS: usize = 8 << 20;

/// Eight channels of so many tiles at the 36 points.
type Block<const TILES: usize> = [[Lanes; TILES]; POINTS];

/// Why a convolution cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Other channels than multiples of 8 in and 16 out, or weights or biases that are not as many as they ask for.
    #[error("{inputs} to {outputs} channels with {weights} weights and {biases} biases")]
    Shape {
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
        /// Weights given.
        weights: usize,
        /// Biases given.
        biases: usize,
    },
    /// Values that do not fill the images.
    #[error("{input} values in and {output} out for {size:?}")]
    Size {
        /// Values given.
        input: usize,
        /// Places for results.
        output: usize,
        /// The images.
        size: Images,
    },
    /// A processor without AVX2 and FMA.
    #[error("this processor has no AVX2 with FMA")]
    Processor,
}

/// Weights of one convolution in Winograd's domain, and its bias.
#[derive(Debug)]
pub struct Winograd {
    filters: Filters,
    bias: Vec<Lanes>,
}

/// What happens to the sums on their way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing.
    Nothing,
    /// The rectifier.
    Relu,
    /// What the output held before is added, then the rectifier.
    AddRelu,
}

/// Size of a batch of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// Images.
    pub count: usize,
    /// Rows of each.
    pub height: usize,
    /// Columns of each.
    pub width: usize,
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
fn scratch_blocks<const TILES: usize>(buffer: &mut Vec<f32>, count: usize) -> &mut [Block<TILES>] {
    let values = count * POINTS * TILES * LANES;
    if buffer.len() < values {
        buffer.resize(values, 0.0);
    }
    let (lanes, _) = buffer[..values].as_chunks_mut::<LANES>();
    let (rows, _) = lanes.as_chunks_mut::<TILES>();
    rows.as_chunks_mut::<POINTS>().0
}

impl Winograd {
    /// Transforms weights `[C_out, C_in, 3, 3]`; bias `[C_out]`.
    ///
    /// # Errors
    /// [`Unfit::Shape`].
    pub fn new(weights: &[f32], bias: &[f32], inputs: usize, outputs: usize) -> Result<Self, Unfit> {
        check_shape(inputs, outputs, weights.len(), bias.len())?;
        let mut filters = Filters::zeros(inputs, outputs);
        let (kernels, _) = weights.as_chunks::<9>();
        filters.set(|output, input| &kernels[output * inputs + input], [[0, 1, 2], [3, 4, 5], [6, 7, 8]]);
        Ok(Self { filters, bias: bias.as_chunks().0.to_vec() })
    }

    /// The convolution that takes output gradients `[N, H, W, C_out]` of the one with these weights `[C_out, C_in, 3, 3]` to input
    /// gradients `[N, H, W, C_in]`: its kernels are turned around and its channels change places.
    ///
    /// # Errors
    /// [`Unfit::Shape`], where `inputs` and `outputs` are those of the gradient's convolution: `C_out` and `C_in`.
    pub fn of_input_gradient(weights: &[f32], inputs: usize, outputs: usize) -> Result<Self, Unfit> {
        check_shape(inputs, outputs, weights.len(), outputs)?;
        let mut filters = Filters::zeros(inputs, outputs);
        let (kernels, _) = weights.as_chunks::<9>();
        filters.set(|output, input| &kernels[input * outputs + output], [[8, 7, 6], [5, 4, 3], [2, 1, 0]]);
        Ok(Self { filters, bias: vec![[0.0; LANES]; outputs / LANES] })
    }

    /// Input channels.
    pub fn inputs(&self) -> usize {
        self.filters.inputs
    }

    /// Output channels.
    pub fn outputs(&self) -> usize {
        self.filters.outputs
    }

    /// The convolution with stride 1 of `input [N, H, W, C_in]`, zeros around it, to `output [N, H, W, C_out]`, on this thread.
    ///
    /// # Errors
    /// [`Unfit::Size`] and [`Unfit::Processor`].
    pub fn convolve(&self, input: &[f32], images: Images, ending: Ending, output: &mut [f32]) -> Result<(), Unfit> {
        let pixels = images.count * images.height * images.width;
        if input.len() != pixels * self.inputs() || output.len() != pixels * self.outputs() {
            return Err(Unfit::Size { input: input.len(), output: output.len(), size: images });
        }
        let instructions = Instructions::best().ok_or(Unfit::Processor)?;
        SCRATCH.with_borrow_mut(|scratch| self.convolve_by(instructions, input, images, ending, output, scratch));
        Ok(())
    }

    /// `instructions` are some that the processor has.
    fn convolve_by(
        &self,
        instructions: Instructions,
        input: &[f32],
        images: Images,
        ending: Ending,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        // SAFETY: the processor has the instructions that the functions are compiled for.
        unsafe {
            match instructions {
                Instructions::Avx2 => self.convolve_avx2(input, images, ending, output, scratch),
                Instructions::Avx512 => self.convolve_avx512(input, images, ending, output, scratch),
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn convolve_avx2(&self, input: &[f32], images: Images, ending: Ending, output: &mut [f32], scratch: &mut Scratch) {
        match self.filters.bytes() > LARGE_FILTERS {
            true => self.blocks::<BLOCK_OF_LARGE, 6>(input, images, ending, output, scratch),
            false => self.blocks::<BLOCK, 6>(input, images, ending, output, scratch),
        }
    }

    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    fn convolve_avx512(
        &self,
        input: &[f32],
        images: Images,
        ending: Ending,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        match self.filters.bytes() > LARGE_FILTERS {
            true => self.blocks::<BLOCK_OF_LARGE, 12>(input, images, ending, output, scratch),
            false => self.blocks::<BLOCK, 12>(input, images, ending, output, scratch),
        }
    }

    /// Writes every value of `output`. `ROWS` tiles are multiplied at once, as many as there are registers for. Inlined into functions that
    /// are compiled for a processor.
    #[inline(always)]
    fn blocks<const TILES: usize, const ROWS: usize>(
        &self,
        input: &[f32],
        images: Images,
        ending: Ending,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let inputs = scratch_blocks::<TILES>(&mut scratch.inputs, self.filters.inputs / LANES);
        let sums = scratch_blocks::<TILES>(&mut scratch.sums, self.bias.len());
        let tiles = images.tiles();
        for first in (0..tiles).step_by(TILES) {
            let count = TILES.min(tiles - first);
            for tile in 0..count {
                transform_in(input, images, images.place(first + tile), tile, inputs);
            }
            for point in 0..POINTS {
                multiply::tiles::<TILES, ROWS>(inputs, self.filters.point(point), point, count, sums);
            }
            for tile in 0..count {
                transform_out(sums, tile, &self.bias, images, images.place(first + tile), ending, output);
            }
        }
    }
}

fn check_shape(inputs: usize, outputs: usize, weights: usize, biases: usize) -> Result<(), Unfit> {
    let channels = inputs.is_multiple_of(INPUT_CHANNELS) && outputs.is_multiple_of(OUTPUT_CHANNELS);
    if !channels || inputs == 0 || weights != inputs * outputs * 9 || biases != outputs {
        return Err(Unfit::Shape { inputs, outputs, weights, biases });
    }
    Ok(())
}

/// One tile's place: the image and the first row and column of its outputs.
#[derive(Debug, Clone, Copy)]
struct Place {
    image: usize,
    top: usize,
    left: usize,
}

impl Images {
    fn tiles(self) -> usize {
        self.count * self.height.div_ceil(TILE) * self.width.div_ceil(TILE)
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
fn transform_in<const TILES: usize>(input: &[f32], images: Images, place: Place, tile: usize, to: &mut [Block<TILES>]) {
    // The window begins one pixel before the tile. Outside the image are zeros; rows and columns before 0 wrap to large numbers.
    let (top, left) = (place.top.wrapping_sub(1), place.left.wrapping_sub(1));
    let inside =
        top < images.height && left < images.width && top + WINDOW <= images.height && left + WINDOW <= images.width;
    let channels = to.len() * LANES;
    for (index, to) in to.iter_mut().enumerate() {
        let channel = index * LANES;
        let window = if inside {
            // The common case, apart so that nothing is asked for each pixel.
            let first = &input[images.offset(place.image, top, left, channels) + channel..];
            let line = images.width * channels;
            six!(ROW => {
                let pixels = &first[ROW * line..][..(WINDOW - 1) * channels + LANES];
                six!(COLUMN => lanes(&pixels[COLUMN * channels..]))
            })
        } else {
            six!(ROW => six!(COLUMN => {
                let (row, column) = (top.wrapping_add(ROW), left.wrapping_add(COLUMN));
                match row < images.height && column < images.width {
                    true => lanes(&input[images.offset(place.image, row, column, channels) + channel..]),
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
    images: Images,
    place: Place,
    ending: Ending,
    output: &mut [f32],
) {
    let channels = bias.len() * LANES;
    let (rows, columns) = (TILE.min(images.height - place.top), TILE.min(images.width - place.left));
    for (index, (from, bias)) in from.iter().zip(bias).enumerate() {
        let sums = six!(COLUMN => six!(ROW => from[COLUMN * WINDOW + ROW][tile]));
        let outputs = transform::output(sums);
        for (row, values) in outputs.iter().enumerate().take(rows) {
            let first = images.offset(place.image, place.top + row, place.left, channels) + index * LANES;
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
