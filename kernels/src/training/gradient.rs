//! Gradient of a 3x3 convolution's weights, the transpose of Winograd's forward pass: inputs are transformed as there,
//! output gradients by the transposed output transform; their products over all tiles, transformed back, are the
//! gradient of the weights.

use std::cell::RefCell;

use crate::block::{Block, COLUMNS, Columns, scratch_blocks};
use crate::buffer::Buffer;
use crate::error::KernelError;
use crate::images::{Images, Place};
use crate::instructions::{Instructions, Kernel};
use crate::strip::Strip;
use crate::tiles::transform_in;
use crate::transform::{self, POINTS, TILE, WINDOW};
use crate::vector::{LANES, Lanes, Vector, WIDE_LANES};
use crate::wide::Wide;
use crate::winograd::check_shape;

#[cfg(test)]
mod tests;

/// Tiles that are multiplied together: the sums are read and written once for so many.
const BLOCK: usize = 48;
/// Input channels whose sums stay in registers: 4 times 2 of AVX2's 16.
const ROWS_AVX2: usize = 4;
/// 8 of AVX-512's 32.
const ROWS_AVX512: usize = 8;

/// Sixteen output channels of so many tiles at the 36 points.
type OutputBlock = Block<COLUMNS, BLOCK>;

/// Sums over tiles at a point, `[C_out / 16][C_in][16]`, and transformed tiles; kept by each thread for the next layer.
#[derive(Debug, Default)]
struct Scratch {
    strip: Buffer,
    inputs: Buffer,
    outputs: Buffer,
    sums: Buffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Writes to `gradient [C_out, C_in, 3, 3]` what the weights of a convolution with stride 1 and zeros around the images
/// owe to `output_gradient [N, H, W, C_out]`, given its `input [N, H, W, C_in]`. On this thread.
///
/// # Errors
/// [`KernelError`]: other channels than multiples of 8 in and 16 out, values that do not fill the images, a processor
/// without AVX2.
pub fn weight_gradient(
    input: &[f32],
    output_gradient: &[f32],
    images: Images,
    (inputs, outputs): (usize, usize),
    gradient: &mut [f32],
) -> Result<(), KernelError> {
    check_shape(inputs, outputs, gradient.len(), outputs)?;
    let pixels = images.count * images.height * images.width;
    if input.len() != pixels * inputs || output_gradient.len() != pixels * outputs {
        return Err(KernelError::Size { input: input.len(), output: output_gradient.len(), size: images });
    }
    let instructions = Instructions::best()?;
    if pixels == 0 {
        gradient.fill(0.0);
        return Ok(());
    }
    weight_gradient_by(instructions, input, output_gradient, images, (inputs, outputs), gradient);
    Ok(())
}

/// Lengths fit.
fn weight_gradient_by(
    instructions: Instructions,
    input: &[f32],
    output_gradient: &[f32],
    images: Images,
    channels: (usize, usize),
    gradient: &mut [f32],
) {
    let (gradient, _) = gradient.as_chunks_mut::<9>();
    SCRATCH.with_borrow_mut(|scratch| {
        instructions.run(WeightGradient { input, output_gradient, images, channels, gradient, scratch });
    });
}

/// A gradient that is to be computed.
struct WeightGradient<'a> {
    input: &'a [f32],
    output_gradient: &'a [f32],
    images: Images,
    channels: (usize, usize),
    gradient: &'a mut [[f32; 9]],
    scratch: &'a mut Scratch,
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn avx2(self) {
        self.blocks::<LANES, Lanes, Columns, ROWS_AVX2>();
    }

    #[inline(always)]
    fn avx512(self) {
        match self.channels.0.is_multiple_of(WIDE_LANES) {
            true => self.blocks::<WIDE_LANES, Wide, Wide, ROWS_AVX512>(),
            false => self.blocks::<LANES, Lanes, Wide, ROWS_AVX512>(),
        }
    }
}

impl WeightGradient<'_> {
    /// `ROWS` input channels are multiplied at once.
    #[inline(always)]
    fn blocks<const N: usize, V: Vector<N>, C: Vector<COLUMNS>, const ROWS: usize>(self) {
        let Self { input, output_gradient, images, channels: (inputs, outputs), gradient, scratch } = self;
        let Scratch { strip, inputs: input_blocks, outputs: output_blocks, sums } = scratch;
        let mut strip = Strip::new(strip, images, inputs);
        let input_blocks = scratch_blocks::<N, BLOCK>(input_blocks, inputs / N);
        let panels = outputs / COLUMNS;
        let output_blocks: &mut [OutputBlock] = scratch_blocks::<COLUMNS, BLOCK>(output_blocks, panels);
        let per_point = panels * inputs;
        let sums = sums.first_mut(POINTS * per_point * COLUMNS);
        sums.fill(0.0);
        let (sums, _) = sums.as_chunks_mut::<COLUMNS>();
        let tiles = images.tiles();
        let mut places = images.places();
        for first in (0..tiles).step_by(BLOCK) {
            let count = BLOCK.min(tiles - first);
            for (tile, place) in (0..count).zip(places.by_ref()) {
                if place.left == 0 {
                    strip.fill(input, images, place);
                }
                transform_in::<N, V, BLOCK>(&strip, place, tile, input_blocks);
                transform_gradient::<N, V>(output_gradient, images, place, tile, output_blocks);
            }
            for (point, sums) in sums.chunks_exact_mut(per_point).enumerate() {
                for (panel, sums) in output_blocks.iter().zip(sums.chunks_exact_mut(inputs)) {
                    let (sums, _) = sums.as_chunks_mut::<N>();
                    for (inputs, sums) in input_blocks.iter().zip(sums) {
                        products::<N, C, ROWS>(&inputs[point][..count], &panel[point][..count], sums);
                    }
                }
            }
        }
        for output in (0..outputs).step_by(LANES) {
            for input in 0..inputs {
                let at = output / COLUMNS * inputs + input;
                let mut points = [[[0.0; LANES]; WINDOW]; WINDOW];
                for (point, value) in points.as_flattened_mut().iter_mut().enumerate() {
                    *value = Lanes::first_of(&sums[point * per_point + at][output % COLUMNS..]);
                }
                let taps = transform::filter_gradient(points);
                for lane in 0..LANES {
                    let to = &mut gradient[(output + lane) * inputs + input];
                    for (to, tap) in to.iter_mut().zip(taps.as_flattened()) {
                        *to = tap[lane];
                    }
                }
            }
        }
    }
}

/// Adds the products of `N` input channels with sixteen output channels over the tiles, `ROWS` of the `N` at a time.
#[inline(always)]
fn products<const N: usize, C: Vector<COLUMNS>, const ROWS: usize>(
    inputs: &[[f32; N]],
    outputs: &[[f32; COLUMNS]],
    sums: &mut [[f32; COLUMNS]; N],
) {
    let (parts, _) = sums.as_chunks_mut::<ROWS>();
    for (part, sums) in parts.iter_mut().enumerate() {
        // From zero, as a copy of the sums would not leave memory.
        let mut kept = [C::zero(); ROWS];
        for (input, output) in inputs.iter().zip(outputs) {
            let output = C::load(output);
            for (row, kept) in kept.iter_mut().enumerate() {
                *kept = output.scaled_sum(input[(part * ROWS + row) % N], *kept);
            }
        }
        for (sums, kept) in sums.iter_mut().zip(kept) {
            kept.add(C::load(sums)).store(sums);
        }
    }
}

/// Transforms the output gradients of one tile, all channels. Outside the image they are zero.
#[inline(always)]
fn transform_gradient<const N: usize, V: Vector<N>>(
    from: &[f32],
    images: Images,
    place: Place,
    tile: usize,
    to: &mut [OutputBlock],
) {
    let channels = to.len() * COLUMNS;
    for index in 0..channels / N {
        let (to, half) = (&mut to[index * N / COLUMNS], index * N % COLUMNS);
        let mut values = [[V::zero(); TILE]; TILE];
        for (row, values) in values.iter_mut().enumerate().take(images.height - place.top) {
            let first = images.offset(place.image, place.top + row, place.left, channels) + index * N;
            for (column, value) in values.iter_mut().enumerate().take(images.width - place.left) {
                *value = V::first_of(&from[first + column * channels..]);
            }
        }
        let points = transform::output_gradient(values);
        for (to, values) in to.iter_mut().zip(points.as_flattened()) {
            values.store_first(&mut to[tile][half..]);
        }
    }
}
