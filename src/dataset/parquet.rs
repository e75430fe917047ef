//! Parquet files as record batches.

use std::fs::File;
use std::iter;
use std::path::Path;

use arrow::datatypes::{SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;

use super::BatchSize;
use super::batches::Batches;
use super::guard::guarded;
use super::int96;
use super::row_groups::RowGroups;
use crate::{Error, Result};

/// Schema and number of rows, from the footer.
pub(super) fn header(path: &Path) -> Result<(SchemaRef, u64)> {
    let (_, metadata) = open(path)?;
    // A footer that lies may promise more rows than can be counted; reading will tell.
    let rows = row_counts(&metadata).fold(0, u64::saturating_add);
    Ok((metadata.schema().clone(), rows))
}

/// Rows of each row group, from the footer.
pub(super) fn row_groups(path: &Path) -> Result<Vec<u64>> {
    Ok(row_counts(&open(path)?.1).collect())
}

fn row_counts(metadata: &ArrowReaderMetadata) -> impl Iterator<Item = u64> {
    // Damaged footers can hold anything; a negative count is none.
    metadata.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
}

/// The batches of a file. Pages are read as they are needed, so memory does not grow with the row groups.
pub(super) fn batches(path: &Path, size: BatchSize, projection: Option<&[usize]>) -> Result<Batches> {
    let origin = path.display().to_string();
    let (file, metadata) = open(path)?;
    let columns = metadata.parquet_schema();
    let mask = match projection {
        Some(roots) => ProjectionMask::roots(columns, roots.iter().copied()),
        None => ProjectionMask::all(),
    };
    let beyond = int96::beyond_microseconds(&file, &metadata, &mask).map_err(|error| fault(&origin, error))?;
    if let Some((column, row)) = beyond {
        return Err(Error::data(
            format!("{origin}, column \"{column}\", row {row}"),
            "holds a time that microseconds since 1970 cannot express; correct it or leave the column out",
        ));
    }
    let mut groups = RowGroups::new(file, metadata, mask, size);
    Ok(Box::new(iter::from_fn(move || groups.next_batch().map_err(|error| fault(&origin, error)).transpose())))
}

fn open(path: &Path) -> Result<(File, ArrowReaderMetadata)> {
    let origin = path.display().to_string();
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    let metadata = guarded(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))
        .and_then(|metadata| int96::read_as(metadata, TimeUnit::Microsecond))
        .map_err(|error| fault(&origin, error))?;
    Ok((file, metadata))
}

/// A codec or an encoding that is not read is no damage.
fn fault(origin: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::NYI(what) => Error::data(origin, format!("this Parquet file uses what is not read: {what}")),
        error => Error::data(
            origin,
            format!(
                "this Parquet file is incomplete or damaged ({error}); write or download it again, or leave it out"
            ),
        ),
    }
}
