//! Datasets through a stage: the one loop of opening, reading, scoring and checking for a stop.

use std::sync::Arc;

use super::joined::{Joined, apart};
use super::observer::Observer;
use super::pool::{MIN_CHUNK_ROWS, Stage};
use super::scored::Scored;
use crate::cancel::Cancel;
use crate::dataset::{BatchSize, Chunk, Dataset, ImageColumn, Images};
use crate::error::Result;
use crate::parallel::read_ahead;

/// Chunks that are read before the workers have room for them.
const CHUNKS_AHEAD: usize = 1;
/// Threads that read small objects of a store: each costs a few round trips. Large ones are fetched ahead as it is.
const READERS_OF_STORES: usize = 8;
/// Items in flight, two for each worker, that one thread more reads for. One thread reads 965,000 small images a second,
/// but rows of raw pixels are a hundred times as large.
const ITEMS_PER_READER: usize = 32;

impl Stage {
    /// Threads that read a dataset.
    fn readers_of(&self, dataset: &Dataset) -> usize {
        match dataset.is_small_objects() {
            true => READERS_OF_STORES,
            false => 1 + self.items_in_flight() / ITEMS_PER_READER,
        }
    }

    /// The chunks that a scan of `dataset` scores: the same each time, as long as the files stay the same.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
    ) -> Result<impl Iterator<Item = Result<Chunk>> + use<>> {
        let readers = self.readers_of(dataset);
        let BatchSize { rows, bytes } = self.batch_size();
        let chunks = dataset.read(BatchSize { rows, bytes: (bytes / readers).max(1) }, columns)?;
        let parts = if readers > 1 { chunks.apart() } else { vec![chunks] };
        let mut failed = false;
        // Nothing comes after an error.
        Ok(read_ahead(parts.into_iter(), readers, CHUNKS_AHEAD)?.map(Result::flatten).take_while(move |chunk| {
            let begun = !failed;
            failed = chunk.is_err();
            begun
        }))
    }

    /// Scores every row of `dataset`: yields its chunks in order, each with its scores.
    ///
    /// `columns` are positions in the dataset's schema of columns to read besides the images; `None` reads all. The
    /// iterator ends with [`Error::Cancelled`](crate::Error::Cancelled) once `cancel` is set.
    ///
    /// # Errors
    /// As [`Stage::image_column`] and [`Dataset::read`].
    pub fn scan(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
    ) -> Result<impl Iterator<Item = Result<(Chunk, Scored)>>> {
        self.scan_observed(dataset, columns, cancel, Arc::new(()))
    }

    /// As [`Stage::scan`], with an observer that sees every image.
    ///
    /// # Errors
    /// As [`Stage::scan`].
    pub fn scan_observed<O: Observer>(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
        observer: Arc<O>,
    ) -> Result<impl Iterator<Item = Result<(Chunk, Scored<O::Value>)>>> {
        self.scan_with(dataset, columns, cancel, observer, |chunk, image| Ok((image.images(&chunk)?, chunk)))
    }

    /// As [`Stage::scan_observed`], where `prepare` chooses the images of each chunk that are scored and what comes
    /// back with their scores.
    ///
    /// # Errors
    /// As [`Stage::scan`].
    pub fn scan_with<T, O: Observer>(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
        observer: Arc<O>,
        mut prepare: impl FnMut(Chunk, &ImageColumn) -> Result<(Images, T)>,
    ) -> Result<impl Iterator<Item = Result<(T, Scored<O::Value>)>>> {
        let image = self.image_column(dataset)?;
        let columns = columns.map(|others| others.iter().copied().chain([image.index()]).collect::<Vec<_>>());
        let chunks = self.read(dataset, columns.as_deref())?;
        let items = chunks.map(move |chunk| prepare(chunk?, &image));
        // A stream's sender may wait for the scores of the rows that it has sent.
        let rows = if dataset.is_at_rest() { MIN_CHUNK_ROWS } else { 1 };
        let scored = self.score_observed(Joined::new(items, rows, self.max_chunk_bytes() / 4), observer);
        Ok(scored.flat_map(apart).map(move |scored| {
            cancel.check()?;
            scored
        }))
    }
}
