//! Images of datasets shown to an observer, without a network.

use std::sync::Arc;

use super::observer::{Observed, Observer};
use super::options::worker_count;
use super::pool::{MAX_IN_FLIGHT_BYTES, MIN_CHUNK_ROWS};
use super::reading::read;
use crate::cancel::Cancel;
use crate::dataset::{BatchSize, Chunk, Dataset, ImageColumn, Images, LoadOptions, OpenedImage};
use crate::error::{Result, RowError};
use crate::parallel::{IN_FLIGHT_PER_THREAD, ordered_map};

/// How images are decoded where there is no network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Threads; 0 takes one per core.
    pub workers: usize,
    /// Image column; the only one that fits where none is named.
    pub image: Option<String>,
    /// How images are loaded: the limit on pixels, whether paths are read, orientation and size.
    pub load: LoadOptions,
}

/// Threads that decode the images of datasets and show them to an observer: a [`Stage`](super::Stage) without a
/// network.
#[derive(Debug, Clone)]
pub struct Decoders {
    threads: usize,
    image: Option<String>,
    load: LoadOptions,
}

/// Whether each image of a chunk could be decoded, and what the observer kept of it.
#[derive(Debug, Clone)]
pub struct Decoded<V> {
    rows: Vec<Result<(), RowError>>,
    observed: Vec<V>,
}

impl<V> Decoded<V> {
    /// For each row why it could not be decoded, where that is so.
    pub fn rows(&self) -> &[Result<(), RowError>] {
        &self.rows
    }

    /// What the observer kept of each row.
    pub fn observed(&self) -> &[V] {
        &self.observed
    }
}

impl Decoders {
    /// Checks the options. Threads begin with a scan.
    ///
    /// # Errors
    /// More than 1,024 threads.
    pub fn try_new(options: &DecodeOptions) -> Result<Self> {
        let DecodeOptions { workers, image, load } = options;
        Ok(Self { threads: worker_count(*workers)?, image: image.clone(), load: *load })
    }

    /// The image column of a dataset: the one that the options name, or the only one that fits.
    ///
    /// # Errors
    /// As [`Dataset::image_column`].
    pub fn image_column(&self, dataset: &Dataset) -> Result<ImageColumn> {
        let column = dataset.image_column(self.image.as_deref())?;
        self.load.require_paths(&column)?;
        Ok(column)
    }

    /// Shows every image of `dataset` to `observer`: yields the chunks in order, each with what the observer kept of
    /// its rows. At most 96 MiB of encoded images are in flight.
    ///
    /// `columns` are positions in the dataset's schema of columns to read besides the images; `None` reads all. The
    /// iterator ends with [`Error::Cancelled`](crate::Error::Cancelled) once `cancel` is set.
    ///
    /// # Errors
    /// As [`Decoders::image_column`] and [`Dataset::read`].
    pub fn scan<O: Observer>(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
        observer: Arc<O>,
    ) -> Result<impl Iterator<Item = Result<(Chunk, Decoded<O::Value>)>> + use<O>> {
        let image = self.image_column(dataset)?;
        let columns = columns.map(|others| others.iter().copied().chain([image.index()]).collect::<Vec<_>>());
        let items_in_flight = self.threads * IN_FLIGHT_PER_THREAD;
        let size = BatchSize { rows: MIN_CHUNK_ROWS, bytes: MAX_IN_FLIGHT_BYTES / items_in_flight };
        let chunks = read(dataset, columns.as_deref(), size, items_in_flight)?;
        let (load, stop) = (self.load, cancel.clone());
        let decode = move |chunk: Result<Chunk>| {
            let chunk = chunk?;
            let decoded = decode_all(&image.images(&chunk)?, &load, &*observer, &stop)?;
            Ok((chunk, decoded))
        };
        let decoded = ordered_map(chunks, self.threads, decode)?;
        Ok(decoded.map(move |decoded| {
            cancel.check()?;
            decoded?
        }))
    }
}

fn decode_all<O: Observer>(
    images: &Images,
    load: &LoadOptions,
    observer: &O,
    cancel: &Cancel,
) -> Result<Decoded<O::Value>> {
    let (mut rows, mut observed) = (Vec::with_capacity(images.len()), Vec::with_capacity(images.len()));
    for row in 0..images.len() {
        // A chunk of photographs takes seconds.
        cancel.check()?;
        let (encoded, decoded) = match load.open(images, row) {
            Ok(OpenedImage::Encoded(bytes)) => {
                let decoded = load.decode(&bytes);
                (Some(bytes), decoded)
            }
            Ok(OpenedImage::Raw(pixels)) => (None, Ok(pixels)),
            Err(error) => (None, Err(error)),
        };
        observed.push(observer.observe(&Observed {
            images,
            row,
            encoded: encoded.as_deref(),
            pixels: decoded.as_ref(),
        }));
        rows.push(decoded.map(drop));
    }
    Ok(Decoded { rows, observed })
}
