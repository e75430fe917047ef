//! The product of a block of tiles with the filters at one point: a matrix product that keeps its sums in registers.

use super::Block;
use super::transform::LANES;

/// Output channels of a panel: two registers of eight.
pub const COLUMNS: usize = 2 * LANES;
/// Tiles whose sums are kept at once: 6 times 2 registers of sums, and 3 for what is multiplied, of AVX2's 16.
const ROWS: usize = 6;

/// Multiplies the first `count` tiles at `point` with the filters there: panels `[C_out / 16][C_in]`. Inlined into functions that are
/// compiled for AVX2.
#[inline(always)]
pub fn tiles<const TILES: usize>(
    inputs: &[Block<TILES>],
    panels: &[[f32; COLUMNS]],
    point: usize,
    count: usize,
    sums: &mut [Block<TILES>],
) {
    let channels = inputs.len() * LANES;
    let (pairs, _) = sums.as_chunks_mut::<2>();
    for (panel, sums) in panels.chunks_exact(channels).zip(pairs) {
        // Six at a time also at the end: what lies behind the last tile is multiplied for nothing, and not read. TILES is a
        // multiple of six.
        for tile in (0..count).step_by(ROWS) {
            product(inputs, panel, point, tile, sums);
        }
    }
}

/// Six tiles from `tile` on times one panel.
#[inline(always)]
fn product<const TILES: usize>(
    inputs: &[Block<TILES>],
    panel: &[[f32; COLUMNS]],
    point: usize,
    tile: usize,
    to: &mut [Block<TILES>; 2],
) {
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    let (panel, _) = panel.as_chunks::<LANES>();
    for (inputs, panel) in inputs.iter().zip(panel) {
        let Some(rows) = inputs[point][tile..].first_chunk::<ROWS>() else { return };
        for (lane, weights) in panel.iter().enumerate() {
            for (row, sums) in rows.iter().zip(&mut sums) {
                let value = row[lane];
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = value.mul_add(*weight, *sum);
                }
            }
        }
    }
    for (index, sums) in sums.iter().enumerate() {
        let (halves, _) = sums.as_chunks::<LANES>();
        to[0][point][tile + index] = halves[0];
        to[1][point][tile + index] = halves[1];
    }
}
