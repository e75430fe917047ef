//! The product of a block of tiles with the filters at one point: a matrix product that keeps its sums in registers.

use super::Block;
use super::transform::LANES;

/// Output channels of a panel: two registers of AVX2, one of AVX-512.
pub const COLUMNS: usize = 2 * LANES;
/// Multiplies the first `count` tiles at `point` with the filters there: panels `[C_out / 16][C_in]`.
///
/// The sums of `ROWS` tiles are kept in registers: 6 take 12 of AVX2's 16, and 3 are for what is multiplied; 12 take 12 of AVX-512's 32.
/// Inlined into functions that are compiled for a processor.
#[inline(always)]
pub fn tiles<const TILES: usize, const ROWS: usize>(
    inputs: &[Block<TILES>],
    panels: &[[f32; COLUMNS]],
    point: usize,
    count: usize,
    sums: &mut [Block<TILES>],
) {
    let channels = inputs.len() * LANES;
    let (pairs, _) = sums.as_chunks_mut::<2>();
    for (panel, sums) in panels.chunks_exact(channels).zip(pairs) {
        // As many also at the end: what lies behind the last tile is multiplied for nothing, and not read. TILES is a multiple.
        for tile in (0..count).step_by(ROWS) {
            product::<TILES, ROWS>(inputs, panel, point, tile, sums);
        }
    }
}

/// `ROWS` tiles from `tile` on times one panel.
#[inline(always)]
fn product<const TILES: usize, const ROWS: usize>(
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
