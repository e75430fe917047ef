//! The convolution: images are cut into blocks of tiles, each transformed, multiplied and transformed back before the
//! next.

use std::cell::RefCell;

use super::block::{COLUMNS, Columns, scratch_blocks};
use super::buffer::Buffer;
use super::error::KernelError;
use super::filters::Filters;
use super::images::{Images, Place};
use super::instructions::{Instructions, Kernel};
use super::multiply;
use super::strip::Strip;
use super::tiles::{transform_in, transform_out};
use super::transform::POINTS;
use super::vector::{LANES, Lanes, Vector, WIDE_LANES};
use super::wide::Wide;

#[cfg(test)]
mod tests;

/// Tiles that are multiplied together, a multiple of the rows of each kernel: more would leave the first cache.
const BLOCK: usize = 12;
/// The same for large filters: each block reads and transforms all of them.
const BLOCK_OF_LARGE: usize = 48;
/// Tiles whose sums stay in registers: 6 take 12 of AVX2's 16, and 3 are for what is multiplied.
const ROWS_AVX2: usize = 6;
/// 12 take 12 of AVX-512's 32.
const ROWS_AVX512: usize = 12;

/// Weights of one convolution in Winograd's domain, and its bias.
#[derive(Debug)]
pub struct Winograd {
    filters: Filters,
    bias: Vec<f32>,
}

/// What happens to the sums on their way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// The rectifier.
    Relu,
    /// What the output held before is added, then the rectifier.
    AddRelu,
}

/// Kept by each thread for the next layer: a [`Strip`], and tiles in the transformed domain, for each 8 or 16 channels
/// a [`Block`]. Large filters are transformed into `filters`, 16 output channels at a time.
#[derive(Debug, Default)]
struct Scratch {
    strip: Buffer,
    inputs: Buffer,
    sums: Buffer,
    filters: Buffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Winograd {
    /// Transforms weights `[C_out, C_in, 3, 3]`; bias `[C_out]`.
    ///
    /// # Errors
    /// [`KernelError::Shape`].
    pub fn try_new(weights: &[f32], bias: &[f32], inputs: usize, outputs: usize) -> Result<Self, KernelError> {
        check_shape(inputs, outputs, weights.len(), bias.len())?;
        let mut filters = Filters::zeros(inputs, outputs);
        let (kernels, _) = weights.as_chunks::<9>();
        filters.set(|output, input| &kernels[output * inputs + input], [[0, 1, 2], [3, 4, 5], [6, 7, 8]]);
        Ok(Self { filters, bias: bias.to_vec() })
    }

    /// The convolution that takes output gradients `[N, H, W, C_out]` of the one with these weights `[C_out, C_in, 3,
    /// 3]` to input gradients `[N, H, W, C_in]`: its kernels are turned around and its channels change places.
    ///
    /// # Errors
    /// [`KernelError::Shape`], where `inputs` and `outputs` are those of the gradient's convolution: `C_out` and
    /// `C_in`.
    pub fn of_input_gradient(weights: &[f32], inputs: usize, outputs: usize) -> Result<Self, KernelError> {
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

    /// The convolution with stride 1 of `input [N, H, W, C_in]`, zeros around it, to `output [N, H, W, C_out]`, on this
    /// thread.
    ///
    /// # Errors
    /// [`KernelError::Size`] and [`KernelError::Processor`].
    pub fn convolve(
        &self,
        input: &[f32],
        images: Images,
        epilogue: Epilogue,
        output: &mut [f32],
    ) -> Result<(), KernelError> {
        let pixels = images.count * images.height * images.width;
        if input.len() != pixels * self.inputs() || output.len() != pixels * self.outputs() {
            return Err(KernelError::Size { input: input.len(), output: output.len(), size: images });
        }
        let instructions = Instructions::best()?;
        if pixels > 0 {
            self.convolve_by(instructions, input, images, epilogue, output);
        }
        Ok(())
    }

    /// Lengths fit.
    fn convolve_by(
        &self,
        instructions: Instructions,
        input: &[f32],
        images: Images,
        epilogue: Epilogue,
        output: &mut [f32],
    ) {
        SCRATCH.with_borrow_mut(|scratch| {
            instructions.run(Convolution { winograd: self, input, images, epilogue, output, scratch });
        });
    }
}

/// A convolution that is to be computed.
struct Convolution<'a> {
    winograd: &'a Winograd,
    input: &'a [f32],
    images: Images,
    epilogue: Epilogue,
    output: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Kernel for Convolution<'_> {
    type Output = ();

    #[inline(always)]
    fn avx2(self) {
        match self.winograd.filters.are_large() {
            true => self.blocks::<LANES, Lanes, Columns, BLOCK_OF_LARGE, ROWS_AVX2>(),
            false => self.blocks::<LANES, Lanes, Columns, BLOCK, ROWS_AVX2>(),
        }
    }

    #[inline(always)]
    fn avx512(self) {
        let winograd = self.winograd;
        match (winograd.inputs().is_multiple_of(WIDE_LANES), winograd.filters.are_large()) {
            (true, true) => self.blocks::<WIDE_LANES, Wide, Wide, BLOCK_OF_LARGE, ROWS_AVX512>(),
            (true, false) => self.blocks::<WIDE_LANES, Wide, Wide, BLOCK, ROWS_AVX512>(),
            (false, _) => self.blocks::<LANES, Lanes, Wide, BLOCK, ROWS_AVX512>(),
        }
    }
}

impl Convolution<'_> {
    /// Writes every value of the output. `ROWS` tiles are multiplied at once, as many as there are registers for.
    #[inline(always)]
    fn blocks<const N: usize, V: Vector<N>, C: Vector<COLUMNS>, const TILES: usize, const ROWS: usize>(self) {
        let Self { winograd: Winograd { filters, bias }, input, images, epilogue, output, scratch } = self;
        let inputs = scratch_blocks::<N, TILES>(&mut scratch.inputs, filters.inputs / N);
        let sums = scratch_blocks::<N, TILES>(&mut scratch.sums, filters.outputs / N);
        let tiles = images.tiles();
        let mut strip = Strip::new(&mut scratch.strip, images, filters.inputs);
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
            if filters.are_large() {
                for (panel, sums) in sums.chunks_exact_mut(COLUMNS / N).enumerate() {
                    let filters = filters.transformed::<N, V>(panel, &mut scratch.filters);
                    for (point, filters) in filters.chunks_exact(inputs.len() * N).enumerate() {
                        multiply::by_panel::<N, C, TILES, ROWS>(inputs, filters, point, count, sums);
                    }
                }
            } else {
                for point in 0..POINTS {
                    multiply::tiles::<N, C, TILES, ROWS>(inputs, filters.point(point), point, count, sums);
                }
            }
            for (tile, &place) in block.0.iter().enumerate().take(count) {
                match epilogue {
                    Epilogue::None => {
                        transform_out::<N, V, TILES, false, false>(sums, tile, bias, images, place, output);
                    }
                    Epilogue::Relu => {
                        transform_out::<N, V, TILES, false, true>(sums, tile, bias, images, place, output);
                    }
                    Epilogue::AddRelu => {
                        transform_out::<N, V, TILES, true, true>(sums, tile, bias, images, place, output);
                    }
                }
            }
        }
    }
}

pub fn check_shape(inputs: usize, outputs: usize, weights: usize, biases: usize) -> Result<(), KernelError> {
    let channels = inputs.is_multiple_of(LANES) && outputs.is_multiple_of(COLUMNS);
    if !channels || inputs == 0 || outputs == 0 || weights != inputs * outputs * 9 || biases != outputs {
        return Err(KernelError::Shape { inputs, outputs, weights, biases });
    }
    Ok(())
}

/// Begins with a line of the cache, and with it the memory in which its function puts registers aside: see [`Buffer`].
#[repr(align(64))]
struct AtLine<T>(T);
