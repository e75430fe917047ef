//! Datasets through a stage: the one loop of opening, reading, scoring and checking for a stop.

use std::sync::Arc;

use super::joined::{Joined, apart};
use super::observer::Observer;
use super::pool::{MIN_CHUNK_ROWS, Stage};
use super::reading::read;
use super::scored::Scored;
use crate::cancel::Cancel;
use crate::dataset::{Chunk, Dataset, InputColumn, InputRows};
use crate::error::Result;

impl Stage {
    /// The chunks that a scan of `dataset` scores: the same each time, as long as the files stay the same.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
    ) -> Result<impl Iterator<Item = Result<Chunk>> + use<>> {
        read(dataset, columns, self.batch_size(), self.items_in_flight())
    }

    /// Scores every row of `dataset`: yields its chunks in order, each with its scores.
    ///
    /// `columns` are positions in the dataset's schema of columns to read besides what is scored; `None` reads all. The
    /// iterator ends with [`Error::Cancelled`](crate::Error::Cancelled) once `cancel` is set.
    ///
    /// # Errors
    /// As [`Stage::input_column`] and [`Dataset::read`].
    pub fn scan(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
    ) -> Result<impl Iterator<Item = Result<(Chunk, Scored)>>> {
        self.scan_observed(dataset, columns, cancel, Arc::new(()))
    }

    /// As [`Stage::scan`], with an observer that sees every row.
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
        self.scan_with(dataset, columns, cancel, observer, |chunk, input| Ok((input.rows(&chunk)?, chunk)))
    }

    /// As [`Stage::scan_observed`], where `prepare` chooses the rows of each chunk that are scored and what comes
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
        mut prepare: impl FnMut(Chunk, &InputColumn) -> Result<(InputRows, T)>,
    ) -> Result<impl Iterator<Item = Result<(T, Scored<O::Value>)>>> {
        let input = self.input_column(dataset)?;
        let columns = columns.map(|others| others.iter().copied().chain([input.index()]).collect::<Vec<_>>());
        let chunks = self.read(dataset, columns.as_deref())?;
        let items = chunks.map(move |chunk| prepare(chunk?, &input));
        // A stream's sender may wait for the scores of the rows that it has sent.
        let rows = if dataset.is_at_rest() { MIN_CHUNK_ROWS } else { 1 };
        let scored = self.score_observed(Joined::new(items, rows, self.max_chunk_bytes() / 4), observer);
        Ok(scored.flat_map(apart).map(move |scored| {
            cancel.check()?;
            scored
        }))
    }
}
