//! The file of kept rows and the one of the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use dismax::columns::{ScoredColumn, ScoredColumns};
use dismax::dataset::{Chunk, Dataset, DatasetWriter, WriteOptions, is_same_place};
use dismax::{Error, Result};

use super::decision::{Decision, fault};
use super::{FilterOptions, FilterSummary, Flag};

pub(super) struct Outputs {
    kept: DatasetWriter,
    rejected: Option<DatasetWriter>,
    columns: bool,
    by_fdr: bool,
}

impl Outputs {
    pub fn create(dataset: &Dataset, decision: &Decision, target: &str, options: &FilterOptions) -> Result<Self> {
        let schema = if options.columns { &decision.extended } else { dataset.schema() };
        let rejected = match options.rejected.as_deref() {
            None => None,
            Some(rejected) if is_same_place(rejected, target) => {
                let rows = ["the kept rows", "the rejected rows"];
                return Err(Error::SameOutput { path: rejected.to_owned(), rows });
            }
            Some(rejected) => {
                let options = WriteOptions { format: None, ..options.write.clone() };
                Some(DatasetWriter::create(rejected, schema, &options)?)
            }
        };
        let kept = DatasetWriter::create(target, schema, &options.write)?;
        Ok(Self { kept, rejected, columns: options.columns, by_fdr: matches!(options.flag, Flag::Fdr(_)) })
    }

    /// Writes a chunk's rows where they belong.
    pub fn write(
        &mut self,
        decision: &Decision,
        chunk: &Chunk,
        judged: &ScoredColumns,
        wanted: &BooleanArray,
        flagged: &BooleanArray,
        summary: &mut FilterSummary,
    ) -> Result<()> {
        let mut scored = judged.clone();
        // Under a false discovery rate the flags are not those at alpha.
        if self.by_fdr {
            scored.set_array(ScoredColumn::IsOod, Arc::new(flagged.clone()));
        }
        let columns: Vec<ArrayRef> = chunk.record_batch.columns().iter().cloned().chain(scored.arrays).collect();
        let extended = RecordBatch::try_new(Arc::clone(&decision.extended), columns).map_err(fault)?;
        let kept = decision.kept(&extended, judged, wanted, flagged)?;

        summary.rows += chunk.record_batch.num_rows() as u64;
        summary.kept += kept.true_count() as u64;
        summary.failed += judged.failed.len() as u64;
        summary.scored += (wanted.true_count() - judged.failed.len()) as u64;
        summary.flagged += flagged.true_count() as u64;

        let rows = if self.columns { &extended } else { &chunk.record_batch };
        if kept.true_count() > 0 {
            self.kept.write(&filter_record_batch(rows, &kept).map_err(fault)?)?;
        }
        if let Some(rejected) = self.rejected.as_mut().filter(|_| kept.true_count() < kept.len()) {
            let others = not(&kept).map_err(fault)?;
            rejected.write(&filter_record_batch(rows, &others).map_err(fault)?)?;
        }
        Ok(())
    }

    /// Both files get their names once both are wholly on disk.
    pub fn finish(self) -> Result<()> {
        let rejected = self.rejected.map(DatasetWriter::complete).transpose()?;
        let kept = self.kept.complete()?;
        if let Some(rejected) = rejected {
            rejected.publish()?;
        }
        kept.publish()
    }
}
