//! What scores the rows of datasets: a stage of this process, or processes elsewhere.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::observer::Observer;
use super::pool::Stage;
use super::scored::Scored;
use crate::cancel::Cancel;
use crate::dataset::{Chunk, Dataset, InputColumn};
use crate::error::{Error, Result};
use crate::model::Model;

/// An observer that other processes know by its name, and whose values they can send.
pub trait PortableObserver: Observer<Value: Serialize + DeserializeOwned> {
    /// Its name.
    const NAME: &'static str;
}

impl PortableObserver for () {
    const NAME: &'static str = "none";
}

/// A chunk, which of its rows were wanted (none: all), and the scores of these.
pub type ScannedChunk<V> = (Chunk, Option<BooleanArray>, Scored<V>);

/// Scores the rows of datasets with one model.
pub trait Scanner {
    /// The model.
    fn model(&self) -> &Arc<Model>;

    /// The column of a dataset that the model scores.
    ///
    /// # Errors
    /// As [`Stage::input_column`].
    fn input_column(&self, dataset: &Dataset) -> Result<InputColumn>;

    /// GPUs of this process that the network runs on, and the time that they worked so far.
    fn gpus_busy(&self) -> (usize, Duration);

    /// The chunks that a scan gives, without scores.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    fn chunks(&self, dataset: &Dataset) -> Result<impl Iterator<Item = Result<Chunk>>>;

    /// Yields the chunks of `dataset` in order, with the columns at these positions besides what is scored (`None`:
    /// all), and the scores of the rows that `wanted` chooses (none: of all).
    ///
    /// # Errors
    /// As [`Stage::scan`].
    fn scan_wanted<O: PortableObserver>(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
        observer: Arc<O>,
        wanted: impl FnMut(&Chunk) -> Result<Option<BooleanArray>>,
    ) -> Result<impl Iterator<Item = Result<ScannedChunk<O::Value>>>>;

    /// As [`scan_wanted`](Self::scan_wanted) for all rows.
    ///
    /// # Errors
    /// As [`Stage::scan`].
    fn scan_all<O: PortableObserver>(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
        observer: Arc<O>,
    ) -> Result<impl Iterator<Item = Result<(Chunk, Scored<O::Value>)>>> {
        let scanned = self.scan_wanted(dataset, columns, cancel, observer, |_| Ok(None))?;
        Ok(scanned.map(|scanned| scanned.map(|(chunk, _, scored)| (chunk, scored))))
    }
}

impl Scanner for Stage {
    fn model(&self) -> &Arc<Model> {
        Stage::model(self)
    }

    fn input_column(&self, dataset: &Dataset) -> Result<InputColumn> {
        Stage::input_column(self, dataset)
    }

    fn gpus_busy(&self) -> (usize, Duration) {
        (self.gpus(), self.stats().device_busy)
    }

    fn chunks(&self, dataset: &Dataset) -> Result<impl Iterator<Item = Result<Chunk>>> {
        self.read(dataset, None)
    }

    fn scan_wanted<O: PortableObserver>(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
        observer: Arc<O>,
        mut wanted: impl FnMut(&Chunk) -> Result<Option<BooleanArray>>,
    ) -> Result<impl Iterator<Item = Result<ScannedChunk<O::Value>>>> {
        let prepare = move |chunk: Chunk, input: &InputColumn| {
            let rows = wanted(&chunk)?;
            let inputs = match &rows {
                None => input.rows(&chunk)?,
                Some(rows) => {
                    let left = filter_record_batch(&chunk.record_batch, rows)
                        .map_err(|source| Error::Arrow { origin: "choosing rows".into(), source })?;
                    input.rows(&Chunk { record_batch: left, ..chunk.clone() })?
                }
            };
            Ok((inputs, (chunk, rows)))
        };
        let scanned = self.scan_with(dataset, columns, cancel, observer, prepare)?;
        Ok(scanned.map(|scanned| scanned.map(|((chunk, rows), scored)| (chunk, rows, scored))))
    }
}
