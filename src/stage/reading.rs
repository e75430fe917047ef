//! Chunks of a dataset, read ahead of the threads that work on them.

use crate::dataset::{BatchSize, Chunk, Dataset};
use crate::error::Result;
use crate::parallel::read_ahead;

/// Chunks that are read before the workers have room for them.
const CHUNKS_AHEAD: usize = 1;
/// Threads that read small objects of a store: each costs a few round trips. Large ones are fetched ahead as it is.
const READERS_OF_STORES: usize = 8;
/// Items in flight, two for each worker, that one thread more reads for. One thread reads 965,000 small images a
/// second, but rows of raw pixels are a hundred times as large.
const ITEMS_PER_READER: usize = 32;

/// The chunks of a dataset with the columns at these positions (none: all), for so many items in flight. Nothing comes
/// after an error.
pub(super) fn read(
    dataset: &Dataset,
    columns: Option<&[usize]>,
    size: BatchSize,
    items_in_flight: usize,
) -> Result<impl Iterator<Item = Result<Chunk>> + use<>> {
    let readers = match dataset.is_small_objects() {
        true => READERS_OF_STORES,
        false => 1 + items_in_flight / ITEMS_PER_READER,
    };
    let chunks = dataset.read(BatchSize { rows: size.rows, bytes: (size.bytes / readers).max(1) }, columns)?;
    let parts = if readers > 1 { chunks.apart() } else { vec![chunks] };
    let mut failed = false;
    Ok(read_ahead(parts.into_iter(), readers, CHUNKS_AHEAD)?.map(Result::flatten).take_while(move |chunk| {
        let begun = !failed;
        failed = chunk.is_err();
        begun
    }))
}
