//! Single tiles on their way into the transformed domain and back. Inlined into functions that are compiled for a
//! processor.

use super::block::Block;
use super::images::{Images, Place};
use super::strip::Strip;
use super::transform::{self, TILE, WINDOW, six};
use super::vector::Vector;

/// Transforms the window of one tile, all channels.
#[inline(always)]
pub fn transform_in<const N: usize, V: Vector<N>, const TILES: usize>(
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

/// Transforms one tile's sums back and writes its outputs, after adding what they held before with `ADD`, and rectified
/// with `RELU`.
#[inline(always)]
pub fn transform_out<const N: usize, V: Vector<N>, const TILES: usize, const ADD: bool, const RELU: bool>(
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
