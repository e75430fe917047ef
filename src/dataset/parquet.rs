//! Parquet files as record batches.

use std::fs::File;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;

use super::batches::Batches;
use super::guard::guarded;
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
    let mut reader = guarded(|| builder.with_projection(mask).build()).map_err(|error| fault(&origin, error))?;
    Ok(Box::new(iter::from_fn(move || {
        let batch = guarded(|| reader.next().transpose());
        batch.map_err(|error| fault(&origin, in_parquet(error))).transpose()
    })))
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let origin = path.display().to_string();
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    let metadata = guarded(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))
        .map_err(|error| fault(&origin, error))?;
    let metadata = match int96_as_microseconds(&metadata) {
        None => metadata,
        Some(schema) => {
            let options = ArrowReaderOptions::new().with_schema(schema);
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
                .map_err(|error| fault(&origin, error))?
        }
    };
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata))
}

/// The schema with INT96 columns as microseconds, where there are such columns. As nanoseconds, which the reader takes them
/// for, times before 1677 and after 2262 would silently become others.
fn int96_as_microseconds(metadata: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let columns = metadata.parquet_schema();
    let is_int96 = |root: usize| {
        let mut leaves = (0..columns.num_columns()).filter(|leaf| columns.get_column_root_idx(*leaf) == root);
        leaves.any(|leaf| columns.column(leaf).physical_type() == PhysicalType::INT96)
    };
    if !(0..columns.num_columns()).any(|leaf| columns.column(leaf).physical_type() == PhysicalType::INT96) {
        return None;
    }
    let schema = metadata.schema();
    let fields = schema.fields().iter().enumerate().map(|(root, field)| match is_int96(root) {
        true => Arc::new(field.as_ref().clone().with_data_type(coarser(field.data_type()))),
        false => Arc::clone(field),
    });
    Some(Arc::new(Schema::new_with_metadata(fields.collect::<Fields>(), schema.metadata().clone())))
}

/// The type with nanoseconds as microseconds, also inside lists and structs.
fn coarser(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(coarser(field.data_type())));
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::Struct(parts) => DataType::Struct(parts.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// The Parquet library's error behind Arrow's, which keeps its words alone.
fn in_parquet(error: ArrowError) -> ParquetError {
    let text = error.to_string();
    if text.contains("NYI") { ParquetError::NYI(text) } else { ParquetError::General(text) }
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
