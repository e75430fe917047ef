//! Parquet files as record batches.

use std::fs::File;
use std::iter;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::guard::guarded;
use super::reader::Batches;
use crate::{Error, Result};

/// Schema and number of rows, from the footer.
pub(super) fn header(path: &Path) -> Result<(SchemaRef, u64)> {
    let builder = open(path)?;
    // Damaged footers can hold anything; a negative count is none.
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    Ok((builder.schema().clone(), rows))
}

/// Rows of each row group, from the footer.
pub(super) fn row_groups(path: &Path) -> Result<Vec<u64>> {
    let builder = open(path)?;
    // Damaged footers can hold anything; a negative count is none.
    Ok(builder.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).collect())
}

/// The batches of a file, at most `batch_rows` long. Pages are read as they are needed, so memory does not grow with the
/// row groups.
pub(super) fn batches(path: &Path, batch_rows: usize, projection: Option<&[usize]>) -> Result<Batches> {
    let origin = path.display().to_string();
    let builder = open(path)?.with_batch_size(batch_rows);
    let mask = match projection {
        Some(columns) => ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    let mut reader =
        guarded(|| builder.with_projection(mask).build()).map_err(|error| damaged(&origin, &error.to_string()))?;
    Ok(Box::new(iter::from_fn(move || {
        let batch = guarded(|| reader.next().transpose());
        batch.map_err(|error| damaged(&origin, &error.to_string())).transpose()
    })))
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    guarded(|| ParquetRecordBatchReaderBuilder::try_new(file))
        .map_err(|error| damaged(&path.display().to_string(), &error.to_string()))
}

fn damaged(origin: &str, cause: &str) -> Error {
    Error::data(
        origin,
        format!("this Parquet file is incomplete or damaged ({cause}); write or download it again, or leave it out"),
    )
}
