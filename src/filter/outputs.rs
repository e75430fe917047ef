//! The rows of a chunk, divided into those that are kept and the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};

use super::decision::{DecidedChunk, Decision, fault};
use super::options::{FilterOptions, FilterSummary, Flag};
use crate::Result;
use crate::columns::ScoredColumn;
use crate::dataset::{Dataset, PairWriter};

/// The file of kept rows and the one of the others.
pub(super) struct FilterOutputs {
    files: PairWriter,
    columns: bool,
    by_fdr: bool,
}

impl FilterOutputs {
    pub fn create(dataset: &Dataset, decision: &Decision, target: &str, options: &FilterOptions) -> Result<Self> {
        let schema = if options.columns { &decision.extended } else { dataset.schema() };
        let rejected = options.rejected.as_deref().map(|rejected| (rejected, schema));
        for path in options.rejected.iter().map(String::as_str).chain([target]) {
            dataset.require_not_read(path)?;
        }
        let rows = ["the kept rows", "the rejected rows"];
        let files = PairWriter::create((target, schema), rejected, rows, &options.write)?;
        Ok(Self { files, columns: options.columns, by_fdr: matches!(options.flag, Flag::Fdr(_)) })
    }

    /// Writes a chunk's rows where they belong.
    pub fn write(
        &mut self,
        decision: &Decision,
        decided: DecidedChunk,
        flagged: &BooleanArray,
        summary: &mut FilterSummary,
    ) -> Result<()> {
        let DecidedChunk { chunk, mut scored, wanted } = decided;
        // Under a false discovery rate the flags are not those at alpha.
        if self.by_fdr {
            scored.set_array(ScoredColumn::IsOod, Arc::new(flagged.clone()));
        }
        let columns: Vec<ArrayRef> = chunk.record_batch.columns().iter().chain(&scored.arrays).cloned().collect();
        let extended = RecordBatch::try_new(Arc::clone(&decision.extended), columns).map_err(fault)?;
        let kept = decision.kept(&extended, &scored, &wanted, flagged)?;

        summary.rows += chunk.record_batch.num_rows() as u64;
        summary.kept += kept.true_count() as u64;
        summary.failed += scored.failed.len() as u64;
        summary.scored += (wanted.true_count() - scored.failed.len()) as u64;
        summary.flagged += flagged.true_count() as u64;

        let rows = if self.columns { &extended } else { &chunk.record_batch };
        if kept.true_count() > 0 {
            self.files.write(&filter_record_batch(rows, &kept).map_err(fault)?)?;
        }
        if self.files.has_other() && kept.true_count() < kept.len() {
            let others = not(&kept).map_err(fault)?;
            self.files.write_other(&filter_record_batch(rows, &others).map_err(fault)?)?;
        }
        Ok(())
    }

    /// Both files appear.
    pub fn finish(self) -> Result<()> {
        self.files.finish()
    }
}
