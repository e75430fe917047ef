//! The row groups of a Parquet file as record batches whose memory is bounded by their decoded bytes.
//!
//! The Parquet reader decodes a number of rows at a time, and nobody knows beforehand how large they are: a dictionary
//! holds one picture for a thousand rows, and one large picture may stand among small ones. So where a row group could
//! hold more than fits, its first row tells how many are decoded at a time, a few at most, and these are joined.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;

use super::BatchSize;
use super::guard::guarded;
use super::slices::used_bytes;
use crate::location::OpenFile;

/// Most rows that are decoded at a time where their size is not known.
const CAUTIOUS_ROWS: usize = 8;

/// Iterator over the record batches of a file.
pub(super) struct RowGroups {
    file: OpenFile,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    size: BatchSize,
    /// The row group that is read.
    group: usize,
    /// The one after the last that is read.
    end: usize,
    /// Its rows that were decoded.
    decoded: usize,
    /// Rows that are decoded at a time.
    step: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// Decoded rows that make no whole record batch yet.
    pending: Vec<RecordBatch>,
    /// Ended the last record batch early.
    failure: Option<ParquetError>,
}

impl RowGroups {
    /// For the row groups `groups` of a file.
    pub(super) fn new(
        file: OpenFile,
        metadata: ArrowReaderMetadata,
        mask: ProjectionMask,
        size: BatchSize,
        groups: Range<usize>,
    ) -> Self {
        let end = groups.end.min(metadata.metadata().num_row_groups());
        let group = groups.start;
        Self {
            file,
            metadata,
            mask,
            size,
            group,
            end,
            decoded: 0,
            step: 0,
            reader: None,
            pending: Vec::new(),
            failure: None,
        }
    }

    /// The next record batch; `None` after the last row group.
    ///
    /// # Errors
    /// Whatever the Parquet reader says, a row group that does not hold the rows that the footer promises, and a value
    /// too large for its column.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>, ParquetError> {
        loop {
            let rows: usize = self.pending.iter().map(RecordBatch::num_rows).sum();
            if rows >= self.size.rows {
                let last = self.pending.pop().expect("the rows lie in a batch");
                let (fitting, rest) = (last.num_rows() - (rows - self.size.rows), rows - self.size.rows);
                self.pending.push(last.slice(0, fitting));
                let batch = self.take_pending();
                self.pending.extend((rest > 0).then(|| last.slice(fitting, rest)));
                return Ok(batch);
            }
            let batch = match self.failure.take().map_or_else(|| self.decode(), Err) {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(self.take_pending()),
                // What was decoded before the damage comes first.
                Err(error) if !self.pending.is_empty() => {
                    self.failure = Some(error);
                    return Ok(self.take_pending());
                }
                Err(error) => return Err(error),
            };
            let bytes = bytes_of(&batch);
            self.choose_step(batch.num_rows(), bytes);
            let waiting: usize = self.pending.iter().map(bytes_of).sum();
            let full = !self.pending.is_empty() && waiting + bytes > self.size.max_bytes();
            let whole = if full { self.take_pending() } else { None };
            self.pending.push(batch);
            if whole.is_some() {
                return Ok(whole);
            }
        }
    }

    /// The pending rows as one record batch.
    fn take_pending(&mut self) -> Option<RecordBatch> {
        let first = self.pending.first()?;
        match concat_batches(&first.schema(), &self.pending) {
            Ok(joined) => {
                self.pending.clear();
                Some(joined)
            }
            // Dictionaries of several row groups may be too large for one.
            Err(_) => Some(self.pending.remove(0)),
        }
    }

    /// The next rows, of the next row group where this one has ended; `None` at the end of the file.
    fn decode(&mut self) -> Result<Option<RecordBatch>, ParquetError> {
        while self.group < self.end {
            if self.step == 0 {
                self.step = self.first_step();
            }
            let mut reader = match self.reader.take() {
                Some(reader) => reader,
                None => self.begin()?,
            };
            // A reader that failed is not used again.
            match guarded(|| reader.next().transpose()) {
                Ok(Some(batch)) => {
                    self.decoded += batch.num_rows();
                    self.reader = Some(reader);
                    return Ok(Some(batch));
                }
                Ok(None) => self.end_group()?,
                Err(error) if is_overflow(&error) && self.step > 1 => self.step /= 2,
                Err(error) if is_overflow(&error) => {
                    return Err(ParquetError::NYI(format!("row {} holds a value of 2 GiB or more", self.row())));
                }
                Err(error) => return Err(in_parquet(error)),
            }
        }
        Ok(None)
    }

    /// A reader of this row group's rows that were not decoded yet.
    fn begin(&self) -> Result<ParquetRecordBatchReader, ParquetError> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
            .with_row_groups(vec![self.group])
            .with_offset(self.decoded)
            .with_batch_size(self.step)
            .with_projection(self.mask.clone());
        guarded(|| builder.build())
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let promised = self.metadata.metadata().row_group(self.group).num_rows();
        if promised != self.decoded as i64 {
            return Err(ParquetError::EOF(format!(
                "row group {} holds {} rows, its footer promises {promised}",
                self.group, self.decoded
            )));
        }
        (self.group, self.decoded, self.step) = (self.group + 1, 0, 0);
        Ok(())
    }

    /// Position in the file of the row that is decoded next.
    fn row(&self) -> i64 {
        let before = &self.metadata.metadata().row_groups()[..self.group];
        let rows = before.iter().map(|group| group.num_rows());
        rows.fold(self.decoded as i64, i64::saturating_add)
    }

    /// Decodes more rows at a time once the first is known, and fewer where so many are too large.
    fn choose_step(&mut self, rows: usize, bytes: usize) {
        let is_first = rows == 1 && self.decoded == 1;
        if is_first || bytes > self.size.max_bytes() {
            let step = self.size.rows_of(CAUTIOUS_ROWS, CAUTIOUS_ROWS * bytes.div_ceil(rows.max(1)));
            if step != self.step {
                self.step = step;
                self.reader = None;
            }
        }
    }

    /// A whole record batch where the row group's rows cannot be too large for one, else one row.
    fn first_step(&self) -> usize {
        let columns = self.metadata.metadata().row_group(self.group).columns().iter().enumerate();
        let read = columns.filter(|(leaf, _)| self.mask.leaf_included(*leaf)).map(|(_, column)| column);
        let bytes = read.map(|column| max_decoded_bytes(column, self.size.rows)).fold(0, u64::saturating_add);
        if bytes <= self.size.max_bytes() as u64 { self.size.rows } else { 1 }
    }
}

/// Upper bound of the bytes that `rows` rows of a column chunk take once decoded.
fn max_decoded_bytes(column: &ColumnChunkMetaData, rows: usize) -> u64 {
    let positive = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let values = match column.column_descr().max_rep_level() {
        0 => (rows as u64).min(positive(column.num_values())),
        _ => positive(column.num_values()),
    };
    let width = match column.column_type() {
        PhysicalType::BYTE_ARRAY => {
            let stored = positive(column.uncompressed_size());
            return match (column.unencoded_byte_array_data_bytes(), column.dictionary_page_offset()) {
                (Some(bytes), _) => positive(bytes),
                (None, None) => stored,
                // Each row may hold the dictionary's largest entry.
                (None, Some(_)) => stored.saturating_mul(values),
            };
        }
        PhysicalType::FIXED_LEN_BYTE_ARRAY => u64::try_from(column.column_descr().type_length()).unwrap_or(u64::MAX),
        PhysicalType::BOOLEAN => 1,
        PhysicalType::INT32 | PhysicalType::FLOAT => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 => 12,
    };
    values.saturating_mul(width)
}

fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(used_bytes).sum()
}

/// Whether a column of bytes would be longer than 32 bits can count. The reader has no error of its own for that.
fn is_overflow(error: &ArrowError) -> bool {
    error.to_string().contains("index overflow")
}

/// The Parquet library's error behind Arrow's, which keeps its words alone.
fn in_parquet(error: ArrowError) -> ParquetError {
    let text = error.to_string();
    if text.contains("NYI") { ParquetError::NYI(text) } else { ParquetError::General(text) }
}
