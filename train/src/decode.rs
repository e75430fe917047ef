//! Decodes the images of a dataset on several threads, in order, into the size that training stores.

use std::sync::Arc;

use dismax::dataset::{BatchSize, Chunk, Dataset, ImageColumn, LoadOptions};
use dismax::error::{Result, RowError};
use dismax::image::{Preprocessing, ReusableResizer};
use dismax::parallel::{IN_FLIGHT_PER_THREAD, ordered_map};

/// Largest number of rows decoded as one task.
const MAX_ROWS: usize = 64;
/// Bytes of encoded images in flight; a task has fewer rows if they are photographs.
const MAX_IN_FLIGHT_BYTES: usize = 256 << 20;

/// How images are read for training.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// Image column.
    pub column: ImageColumn,
    /// Limits, paths.
    pub load: LoadOptions,
    /// Size that the images are stored in.
    pub preprocessing: Preprocessing,
    /// Decoding threads.
    pub threads: usize,
}

/// Images of some consecutive rows.
#[derive(Debug)]
pub struct DecodedRows {
    /// `[H, W, 3]` u8 of each row, or why it has none.
    pub images: Vec<Result<Vec<u8>, RowError>>,
    /// File of the rows.
    pub file: Arc<str>,
    /// First row within the file.
    pub first_row: u64,
}

impl Decoder {
    /// Reads the whole dataset in order.
    ///
    /// # Errors
    /// Whatever reading gives, then or while iterating.
    pub fn rows(&self, dataset: &Dataset) -> Result<impl Iterator<Item = Result<DecodedRows>> + Send + use<>> {
        let tasks = self.threads.max(1) * IN_FLIGHT_PER_THREAD;
        let size = BatchSize { rows: MAX_ROWS, bytes: MAX_IN_FLIGHT_BYTES / tasks };
        let chunks = dataset.read(size, Some(&[self.column.index()]))?;
        let decoder = self.clone();
        let decoded = ordered_map(chunks, self.threads, move |chunk| chunk.and_then(|chunk| decoder.decode(&chunk)))?;
        Ok(decoded.map(|rows| rows.and_then(|rows| rows)))
    }

    fn decode(&self, chunk: &Chunk) -> Result<DecodedRows> {
        let images = self.column.images(chunk)?;
        let mut resizer = ReusableResizer::default();
        let mut decode = |row| {
            let image = self.load.load(&images, row)?;
            let mut out = vec![0; self.preprocessing.image_bytes()];
            self.preprocessing.apply_into(&image, &mut resizer, &mut out)?;
            Ok(out)
        };
        Ok(DecodedRows {
            images: (0..chunk.record_batch.num_rows()).map(&mut decode).collect(),
            file: Arc::clone(&chunk.file),
            first_row: chunk.first_row,
        })
    }
}
