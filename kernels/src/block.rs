//! Tiles in the transformed domain, as the kernels lay them out.

use super::buffer::Buffer;
use super::transform::POINTS;
use super::vector::LANES;

/// Output channels that are computed together: two registers of AVX2, one of AVX-512.
pub const COLUMNS: usize = 2 * LANES;

/// Output channels of one tile in AVX2's two registers.
pub type Columns = [f32; COLUMNS];
/// `N` channels of so many tiles at the 36 points.
pub type Block<const N: usize, const TILES: usize> = [[[f32; N]; TILES]; POINTS];

/// The first `count` blocks of a buffer, which grows for them.
pub fn scratch_blocks<const N: usize, const TILES: usize>(buffer: &mut Buffer, count: usize) -> &mut [Block<N, TILES>] {
    let (lanes, _) = buffer.first_mut(count * POINTS * TILES * N).as_chunks_mut::<N>();
    let (rows, _) = lanes.as_chunks_mut::<TILES>();
    rows.as_chunks_mut::<POINTS>().0
}
