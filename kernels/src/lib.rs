//! Winograd's convolution for kernels of 3x3 with stride 1 on a CPU with AVX2 or AVX-512: Lavin and Gray, *Fast Algorithms for Convolutional
//! Neural Networks* (arXiv 1509.09308), F(4x4, 3x3).
//!
//! A tile of 4x4 outputs takes 36 multiplications for each pair of channels instead of 144. oneDNN's direct convolutions come near
//! the peak of a processor with AVX2 on most layers (up to 97 of about 100 GFLOP/s on a core), so fewer multiplications are what is
//! left to gain: on one thread 1.6 to 2.6 times its images (16 channels of 32x32: 1.6; 64 of 8x8: 2.6; 512 of 4x4: 2.5;
//! `cargo bench --bench parts`). The price: weights take four times their memory (all workers share them), and sums are less exact
//! by a digit (1e-5 of a typical output instead of 2e-6).
//!
//! Images are cut into blocks of tiles, small enough for the first caches: each block is transformed, multiplied and transformed
//! back before the next, with bias, residual sum and rectifier on the way out.
//!
//! The code is generic over the register: with AVX-512 one holds sixteen channels, and a convolution takes 0.3 to 0.6 of the time of oneDNN's. For
//! training there are the gradient of the weights and batch norm with what follows it: a step of ResNet-20 and of ResNet-34 takes 0.7 of the time of
//! libtorch's on a processor with AVX-512, and of ResNet-20 on the same one with libtorch, oneDNN and these kernels kept to AVX2.
//!
//! A crate of its own, so that it is compiled with all optimisation also in development.

mod buffer;
mod filters;
mod gradient;
mod images;
mod instructions;
mod multiply;
mod norm;
mod strip;
#[cfg(test)]
mod tests;
mod transform;
mod vector;

use std::cell::RefCell;

use self::buffer::Buffer;
use self::filters::Filters;
pub use self::gradient::weight_gradient;
pub use self::images::Images;
use self::images::Place;
use self::instructions::Instructions;
pub use self::instructions::available;
pub use self::norm::{Normalization, Normalized};
use self::strip::Strip;
use self::transform::{POINTS, TILE, WINDOW, six};
use self::vector::{LANES, Lanes, Vector, WIDE_LANES, Wide};

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

/// Sixteen output channels in two of AVX2's registers.
type Columns = [f32; OUTPUT_CHANNELS];
/// `N` channels of so many tiles at the 36 points.
type Block<const N: usize, const TILES: usize> = [[[f32; N]; TILES]; POINTS];

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
    bias: Vec<f32>,
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

/// Kept by each thread for the next layer: a [`Strip`], and tiles in the transformed domain, for each 8 or 16 channels a [`Block`].
#[derive(Debug, Default)]
struct Scratch {
    strip: Buffer,
    inputs: Buffer,
    sums: Buffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first `count` blocks of a buffer, which grows for them.
fn scratch_blocks<const N: usize, const TILES: usize>(buffer: &mut Buffer, count: usize) -> &mut [Block<N, TILES>] {
    let (lanes, _) = buffer.first_mut(count * POINTS * TILES * N).as_chunks_mut::<N>();
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
        Ok(Self { filters, bias: bias.to_vec() })
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
        Ok(Self { filters, bias: vec![0.0; outputs] })
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
        if pixels == 0 {
            return Ok(());
        }
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
        debug_assert!(instructions.are_there());
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
            true => self.blocks::<LANES, Lanes, Columns, BLOCK_OF_LARGE, 6>(input, images, ending, output, scratch),
            false => self.blocks::<LANES, Lanes, Columns, BLOCK, 6>(input, images, ending, output, scratch),
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
        match (self.inputs().is_multiple_of(WIDE_LANES), self.filters.bytes() > LARGE_FILTERS) {
            (true, true) => {
                self.blocks::<WIDE_LANES, Wide, Wide, BLOCK_OF_LARGE, 12>(input, images, ending, output, scratch)
            }
            (true, false) => self.blocks::<WIDE_LANES, Wide, Wide, BLOCK, 12>(input, images, ending, output, scratch),
            (false, _) => self.blocks::<LANES, Lanes, Wide, BLOCK, 12>(input, images, ending, output, scratch),
        }
    }

    /// Writes every value of `output`. `ROWS` tiles are multiplied at once, as many as there are registers for. Inlined into functions that
    /// are compiled for a processor.
    #[inline(always)]
    fn blocks<const N: usize, V: Vector<N>, C: Vector<OUTPUT_CHANNELS>, const TILES: usize, const ROWS: usize>(
        &self,
        input: &[f32],
        images: Images,
        ending: Ending,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let inputs = scratch_blocks::<N, TILES>(&mut scratch.inputs, self.filters.inputs / N);
        let sums = scratch_blocks::<N, TILES>(&mut scratch.sums, self.filters.outputs / N);
        let tiles = images.tiles();
        let mut strip = Strip::new(&mut scratch.strip, images, self.filters.inputs);
        let mut places = images.places();
        for first in (0..tiles).step_by(TILES) {
            let count = TILES.min(tiles - first);
            let mut block = AtLine([Place { image: 0, top: 0, left: 0 }; TILES]);
            for ((tile, to), place) in block.0.iter_mut().enumerate().take(count).zip(places.by_ref()) {
                *to = place;
                if place.left == 0 {
                    strip.fill(input, images, place);
                }
                transform_in::<N, V, TILES>(&strip, place, tile, inputs);
            }
            for point in 0..POINTS {
                multiply::tiles::<N, C, TILES, ROWS>(inputs, self.filters.point(point), point, count, sums);
            }
            for (tile, &place) in block.0.iter().enumerate().take(count) {
                match ending {
                    Ending::Nothing => {
                        transform_out::<N, V, TILES, false, false>(sums, tile, &self.bias, images, place, output);
                    }
                    Ending::Relu => {
                        transform_out::<N, V, TILES, false, true>(sums, tile, &self.bias, images, place, output);
                    }
                    Ending::AddRelu => {
                        transform_out::<N, V, TILES, true, true>(sums, tile, &self.bias, images, place, output);
                    }
                }
            }
        }
    }
}

fn check_shape(inputs: usize, outputs: usize, weights: usize, biases: usize) -> Result<(), Unfit> {
    let channels = inputs.is_multiple_of(INPUT_CHANNELS) && outputs.is_multiple_of(OUTPUT_CHANNELS);
    if !channels || inputs == 0 || outputs == 0 || weights != inputs * outputs * 9 || biases != outputs {
        return Err(Unfit::Shape { inputs, outputs, weights, biases });
    }
    Ok(())
}

/// Begins with a line of the cache, and with it the memory in which its function puts registers aside: see [`Buffer`].
#[repr(align(64))]
struct AtLine<T>(T);

/// Transforms the window of one tile, all channels.
#[inline(always)]
fn transform_in<const N: usize, V: Vector<N>, const TILES: usize>(
    strip: &Strip<'_>,
    place: Place,
    tile: usize,
    to: &mut [Block<N, TILES>],
) {
    for (index, to) in to.iter_mut().enumerate() {
        let first = &strip.values[place.left * strip.channels + index * N..];
        let window = six!(ROW => {
            let pixels = &first[ROW * strip.line..][..(WINDOW - 1) * strip.channels + N];
            six!(COLUMN => V::first_of(&pixels[COLUMN * strip.channels..]))
        });
        for (to, values) in to.iter_mut().zip(transform::input(window).as_flattened()) {
            values.store(&mut to[tile]);
        }
    }
}

/// Transforms one tile's sums back and writes its outputs, after adding what they held before with `ADD`, and rectified with `RELU`.
#[inline(always)]
fn transform_out<const N: usize, V: Vector<N>, const TILES: usize, const ADD: bool, const RELU: bool>(
    from: &[Block<N, TILES>],
    tile: usize,
    bias: &[f32],
    images: Images,
    place: Place,
    output: &mut [f32],
) {
    let channels = bias.len();
    let (rows, columns) = (TILE.min(images.height - place.top), TILE.min(images.width - place.left));
    let line = images.width * channels;
    for (index, (from, bias)) in from.iter().zip(bias.as_chunks::<N>().0).enumerate() {
        let sums = six!(COLUMN => six!(ROW => V::load(&from[COLUMN * WINDOW + ROW][tile])));
        let outputs = transform::output(sums);
        let bias = V::load(bias);
        let first = images.offset(place.image, place.top, place.left, channels) + index * N;
        if rows == TILE && columns == TILE {
            // Apart, so that the outputs stay in registers.
            for row in 0..TILE {
                let pixels = &mut output[first + row * line..][..(TILE - 1) * channels + N];
                for column in 0..TILE {
                    finish::<N, V, ADD, RELU>(outputs[row][column].add(bias), &mut pixels[column * channels..]);
                }
            }
        } else {
            for (row, values) in outputs.iter().enumerate().take(rows) {
                let pixels = output[first + row * line..].chunks_mut(channels);
                for (value, pixel) in values.iter().take(columns).zip(pixels) {
                    finish::<N, V, ADD, RELU>(value.add(bias), pixel);
                }
            }
        }
    }
}

#[inline(always)]
fn finish<const N: usize, V: Vector<N>, const ADD: bool, const RELU: bool>(mut value: V, to: &mut [f32]) {
    if ADD {
        value = value.add(V::first_of(to));
    }
    if RELU {
        value = value.rectified();
    }
    value.store_first(to);
}
