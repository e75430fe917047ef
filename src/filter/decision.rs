//! Which rows are scored, flagged and kept.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::columns::{Columns, ScoredColumns};
use crate::dataset::{Chunk, Dataset};
use crate::stage::Scanner;
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::options::Keep;
use super::predicate::RowPredicate;

/// What decides about a row.
#[derive(Debug)]
pub(super) struct Decision {
    pub keep: Keep,
    pub predicate: Option<Arc<dyn RowPredicate>>,
    pub columns: Columns,
    /// The input's schema with the scored columns.
    pub extended: SchemaRef,
}

/// A chunk with what the model says of its rows.
#[derive(Debug)]
pub(super) struct DecidedChunk {
    pub chunk: Chunk,
    /// One entry for each row; NULL everywhere for those that were not scored.
    pub scored: ScoredColumns,
    /// Rows that the predicate on the input's columns leaves.
    pub wanted: BooleanArray,
}

impl Decision {
    /// The dataset in its order; rows that a predicate on the input's columns leaves out are not scored.
    pub fn score<'a>(
        &'a self,
        stage: &'a impl Scanner,
        dataset: &'a Dataset,
        cancel: &Cancel,
    ) -> Result<impl Iterator<Item = Result<DecidedChunk>> + 'a> {
        let wanted = |chunk: &Chunk| match self.predicate.as_ref().filter(|predicate| !predicate.needs_scores()) {
            Some(predicate) => predicate.is_true(&chunk.record_batch).map(Some),
            None => Ok(None),
        };
        let scanned = stage.scan_wanted(dataset, None, cancel.clone(), Arc::new(()), wanted)?;
        Ok(scanned.map(move |item| {
            let (chunk, wanted, scored) = item?;
            let wanted = wanted.unwrap_or_else(|| BooleanArray::from(vec![true; chunk.record_batch.num_rows()]));
            let scored = spread(self.columns.build(&scored)?, &wanted)?;
            Ok(DecidedChunk { chunk, scored, wanted })
        }))
    }

    /// Whether each row is flagged; by the p-value and this threshold where one is given.
    pub fn flagged(&self, scored: &ScoredColumns, threshold: Option<f64>) -> BooleanArray {
        let alpha = threshold.unwrap_or_else(|| self.columns.alpha());
        scored.p_values.iter().map(|p_value| p_value.map(|p_value| p_value <= alpha)).collect()
    }

    /// Whether each row is kept.
    pub fn kept(
        &self,
        extended: &RecordBatch,
        scored: &ScoredColumns,
        wanted: &BooleanArray,
        flagged: &BooleanArray,
    ) -> Result<BooleanArray> {
        let mut failed = vec![false; wanted.len()];
        scored.failed.iter().for_each(|(row, _)| failed[*row] = true);
        let after = match self.predicate.as_ref().filter(|predicate| predicate.needs_scores()) {
            Some(predicate) => Some(predicate.is_true(extended)?),
            None => None,
        };
        let is_kept = |row: usize| {
            let flag = flagged.is_valid(row).then(|| flagged.value(row));
            let fits = match self.keep {
                Keep::InDist => flag == Some(false),
                Keep::Ood => flag == Some(true),
                Keep::Errors => failed[row],
            };
            fits && wanted.value(row) && after.as_ref().is_none_or(|after| after.value(row))
        };
        Ok((0..wanted.len()).map(|row| Some(is_kept(row))).collect())
    }
}

/// What was scored of the wanted rows, at their places among all rows.
fn spread(scored: ScoredColumns, wanted: &BooleanArray) -> Result<ScoredColumns> {
    if wanted.true_count() == wanted.len() {
        return Ok(scored);
    }
    let mut next = 0;
    let mut places = Vec::new();
    let indices: UInt32Array = (0..wanted.len())
        .map(|row| {
            wanted.value(row).then(|| {
                places.push(row);
                next += 1;
                next - 1
            })
        })
        .collect();
    let arrays: Vec<ArrayRef> =
        scored.arrays.iter().map(|array| take(array, &indices, None)).collect::<Result<_, _>>().map_err(fault)?;
    let p_values = indices.iter().map(|index| scored.p_values.get(index? as usize).copied().flatten()).collect();
    let failed = scored.failed.into_iter().filter_map(|(row, error)| Some((*places.get(row)?, error))).collect();
    Ok(ScoredColumns { arrays, p_values, flagged: scored.flagged, failed })
}

pub(super) fn fault(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { origin: "choosing rows".into(), source }
}
