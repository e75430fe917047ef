//! The product of a block of tiles with the filters at one point: a matrix product that keeps its sums in registers.

use super::block::{Block, COLUMNS};
use super::vector::Vector;

/// Multiplies the first `count` tiles at `point` with the filters there: panels `[C_out / 16][C_in]`.
///
/// The sums of `ROWS` tiles are kept in registers. Inlined into functions that are compiled for a processor.
#[inline(always)]
pub fn tiles<const N: usize, C: Vector<COLUMNS>, const TILES: usize, const ROWS: usize>(
    inputs: &[Block<N, TILES>],
    panels: &[[f32; COLUMNS]],
    point: usize,
    count: usize,
    sums: &mut [Block<N, TILES>],
) {
    let channels = inputs.len() * N;
    for (panel, sums) in panels.chunks_exact(channels).zip(sums.chunks_exact_mut(COLUMNS / N)) {
        by_panel::<N, C, TILES, ROWS>(inputs, panel, point, count, sums);
    }
}

/// The same with one panel `[C_in]`; `sums` are those of its 16 output channels.
#[inline(always)]
pub fn by_panel<const N: usize, C: Vector<COLUMNS>, const TILES: usize, const ROWS: usize>(
    inputs: &[Block<N, TILES>],
    panel: &[[f32; COLUMNS]],
    point: usize,
    count: usize,
    sums: &mut [Block<N, TILES>],
) {
    // The last step is padded to ROWS, of which TILES is a multiple; the extra products are never read.
    for tile in (0..count).step_by(ROWS) {
        product::<N, C, TILES, ROWS>(inputs, panel, point, tile, sums);
    }
}

/// `ROWS` tiles from `tile` on times one panel.
#[inline(always)]
fn product<const N: usize, C: Vector<COLUMNS>, const TILES: usize, const ROWS: usize>(
    inputs: &[Block<N, TILES>],
    panel: &[[f32; COLUMNS]],
    point: usize,
    tile: usize,
    to: &mut [Block<N, TILES>],
) {
    let mut sums = [C::zero(); ROWS];
    let (panel, _) = panel.as_chunks::<N>();
    for (inputs, panel) in inputs.iter().zip(panel) {
        let Some(rows) = inputs[point][tile..].first_chunk::<ROWS>() else { return };
        for (lane, weights) in panel.iter().enumerate() {
            let weights = C::load(weights);
            for (row, sum) in rows.iter().zip(&mut sums) {
                *sum = weights.scaled_sum(row[lane], *sum);
            }
        }
    }
    for (index, sum) in sums.into_iter().enumerate() {
        let mut values = [0.0; COLUMNS];
        sum.store(&mut values);
        for (part, to) in values.as_chunks::<N>().0.iter().zip(to.iter_mut()) {
            to[point][tile + index] = *part;
        }
    }
}
