//! Gradient of a 3x3 convolution's weights, the transpose of Winograd's forward pass: inputs are transformed as there, output gradients
//! by the transposed output transform; their products over all tiles, transformed back, are the gradient of the weights.

use std::cell::RefCell;

use super::multiply::COLUMNS;
use super::transform::{self, LANES, POINTS, TILE, WINDOW};
use super::{Block, Images, Place, Unfit, available, check_shape, lanes, scratch_blocks, transform_in};

/// Tiles that are multiplied together: the sums are read and written once for so many.
const BLOCK: usize = 48;
/// Input channels whose sums are kept in registers: 4 times 2 registers of 16.
const ROWS: usize = 4;

/// Sums over tiles at a point, `[C_out / 16][C_in][16]`, and transformed tiles; kept by each thread for the next layer.
#[derive(Debug, Default)]
struct Scratch {
    inputs: Vec<f32>,
    outputs: Vec<f32>,
    sums: Vec<[f32; COLUMNS]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Writes to `gradient [C_out, C_in, 3, 3]` what the weights of a convolution with stride 1 and zeros around the images owe to
/// `output_gradient [N, H, W, C_out]`, given its `input [N, H, W, C_in]`. On this thread.
///
/// # Errors
/// [`Unfit`]: other channels than multiples of 8 in and 16 out, values that do not fill the images, a processor without AVX2.
pub fn weight_gradient(
    input: &[f32],
    output_gradient: &[f32],
    images: Images,
    (inputs, outputs): (usize, usize),
    gradient: &mut [f32],
) -> Result<(), Unfit> {
    check_shape(inputs, outputs, gradient.len(), outputs)?;
    let pixels = images.count * images.height * images.width;
    if input.len() != pixels * inputs || output_gradient.len() != pixels * outputs {
        return Err(Unfit::Size { input: input.len(), output: output_gradient.len(), size: images });
    }
    if !available() {
        return Err(Unfit::Processor);
    }
    let (gradient, _) = gradient.as_chunks_mut::<9>();
    SCRATCH.with_borrow_mut(|scratch| {
        // SAFETY: `available` has found the instructions that the function is compiled for.
        unsafe { blocks(input, output_gradient, images, (inputs, outputs), gradient, scratch) }
    });
    Ok(())
}

#[target_feature(enable = "avx2,fma")]
fn blocks(
    input: &[f32],
    output_gradient: &[f32],
    images: Images,
    (inputs, outputs): (usize, usize),
    gradient: &mut [[f32; 9]],
    scratch: &mut Scratch,
) {
    let Scratch { inputs: input_blocks, outputs: output_blocks, sums } = scratch;
    let input_blocks = scratch_blocks::<BLOCK>(input_blocks, inputs / LANES);
    let output_blocks = scratch_blocks::<BLOCK>(output_blocks, outputs / LANES);
    let per_point = outputs / COLUMNS * inputs;
    sums.clear();
    sums.resize(POINTS * per_point, [0.0; COLUMNS]);
    let tiles = images.tiles();
    for first in (0..tiles).step_by(BLOCK) {
        let count = BLOCK.min(tiles - first);
        for tile in 0..count {
            transform_in(input, images, images.place(first + tile), tile, input_blocks);
            transform_gradient(output_gradient, images, images.place(first + tile), tile, output_blocks);
        }
        let (pairs, _) = output_blocks.as_chunks::<2>();
        for (point, sums) in sums.chunks_exact_mut(per_point).enumerate() {
            for (pair, sums) in pairs.iter().zip(sums.chunks_exact_mut(inputs)) {
                let (sums, _) = sums.as_chunks_mut::<ROWS>();
                for (index, sums) in sums.iter_mut().enumerate() {
                    let from = &input_blocks[index * ROWS / LANES][point][..count];
                    products(from, index * ROWS % LANES, pair, point, sums);
                }
            }
        }
    }
    for output in (0..outputs).step_by(LANES) {
        for input in 0..inputs {
            let at = output / COLUMNS * inputs + input;
            let mut points = [[[0.0; LANES]; WINDOW]; WINDOW];
            for (point, value) in points.as_flattened_mut().iter_mut().enumerate() {
                *value = lanes(&sums[point * per_point + at][output % COLUMNS..]);
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

/// Adds the products of four input channels, from `lane` on, with sixteen output channels over the tiles.
#[inline(always)]
fn products(
    inputs: &[[f32; LANES]],
    lane: usize,
    outputs: &[Block<BLOCK>; 2],
    point: usize,
    sums: &mut [[f32; COLUMNS]; ROWS],
) {
    let mut kept = *sums;
    let outputs = outputs[0][point].iter().zip(&outputs[1][point]);
    for (input, (left, right)) in inputs.iter().zip(outputs) {
        for row in 0..ROWS {
            let value = input[lane + row];
            for column in 0..LANES {
                kept[row][column] = value.mul_add(left[column], kept[row][column]);
                kept[row][LANES + column] = value.mul_add(right[column], kept[row][LANES + column]);
            }
        }
    }
    *sums = kept;
}

/// Transforms the output gradients of one tile, all channels. Outside the image they are zero.
#[inline(always)]
fn transform_gradient(from: &[f32], images: Images, place: Place, tile: usize, to: &mut [Block<BLOCK>]) {
    let channels = to.len() * LANES;
    for (index, to) in to.iter_mut().enumerate() {
        let mut values = [[[0.0; LANES]; TILE]; TILE];
        for (row, values) in values.iter_mut().enumerate().take(images.height - place.top) {
            let first = images.offset(place.image, place.top + row, place.left, channels) + index * LANES;
            for (column, value) in values.iter_mut().enumerate().take(images.width - place.left) {
                *value = lanes(&from[first + column * channels..]);
            }
        }
        let points = transform::output_gradient(values);
        for (to, values) in to.iter_mut().zip(points.as_flattened()) {
            to[tile] = *values;
        }
    }
}
