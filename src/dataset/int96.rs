//! Parquet's INT96 times, which Spark and Impala write. The Parquet reader takes them for nanoseconds, in which times
//! before 1677 and after 2262 would silently become others; here they are microseconds, and what even those cannot hold
//! is an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;

use super::guard::guarded;
use crate::location::OpenFile;

/// The metadata, so that INT96 columns are read as times of this unit.
pub(super) fn read_as(metadata: ArrowReaderMetadata, unit: TimeUnit) -> Result<ArrowReaderMetadata, ParquetError> {
    let roots = roots(&metadata);
    if roots.is_empty() {
        return Ok(metadata);
    }
    let schema = metadata.schema();
    let fields = schema.fields().iter().enumerate().map(|(root, field)| match roots.contains(&root) {
        true => Arc::new(field.as_ref().clone().with_data_type(in_unit(field.data_type(), unit))),
        false => Arc::clone(field),
    });
    let schema = Schema::new_with_metadata(fields.collect::<Fields>(), schema.metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

/// The first INT96 time of the columns in `mask` that microseconds cannot express: its column and row. As seconds no
/// time overflows, so they are read as those.
pub(super) fn beyond_microseconds(
    file: &OpenFile,
    metadata: &ArrowReaderMetadata,
    mask: &ProjectionMask,
) -> Result<Option<(String, usize)>, ParquetError> {
    let columns = metadata.parquet_schema();
    let is_read = |root: &usize| {
        (0..columns.num_columns()).any(|leaf| columns.get_column_root_idx(leaf) == *root && mask.leaf_included(leaf))
    };
    let read: Vec<usize> = roots(metadata).into_iter().filter(is_read).collect();
    if read.is_empty() {
        return Ok(None);
    }
    let seconds = read_as(metadata.clone(), TimeUnit::Second)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), seconds)
        .with_projection(ProjectionMask::roots(columns, read));
    let mut reader = guarded(|| builder.build())?;
    let mut first_row = 0;
    while let Some(batch) = guarded(|| reader.next().transpose())? {
        for (column, field) in batch.columns().iter().zip(batch.schema_ref().fields()) {
            if let Some(row) = first_overflow(column) {
                return Ok(Some((field.name().clone(), first_row + row)));
            }
        }
        first_row += batch.num_rows();
    }
    Ok(None)
}

/// The first row whose seconds are too many as microseconds.
fn first_overflow(column: &ArrayRef) -> Option<usize> {
    let microseconds = in_unit(column.data_type(), TimeUnit::Microsecond);
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let fits = |column: &ArrayRef| cast_with_options(column, &microseconds, &strict).is_ok();
    if fits(column) {
        return None;
    }
    (0..column.len()).find(|row| !fits(&column.slice(*row, 1)))
}

/// Positions of the columns that hold INT96 anywhere.
fn roots(metadata: &ArrowReaderMetadata) -> Vec<usize> {
    let columns = metadata.parquet_schema();
    let int96 = (0..columns.num_columns()).filter(|leaf| columns.column(*leaf).physical_type() == PhysicalType::INT96);
    let mut roots: Vec<usize> = int96.map(|leaf| columns.get_column_root_idx(leaf)).collect();
    roots.dedup();
    roots
}

/// The type with its times in this unit, also inside lists and structs.
fn in_unit(data_type: &DataType, unit: TimeUnit) -> DataType {
    let inner = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(in_unit(field.data_type(), unit)));
    match data_type {
        DataType::Timestamp(_, zone) => DataType::Timestamp(unit, zone.clone()),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::Struct(parts) => DataType::Struct(parts.iter().map(inner).collect()),
        other => other.clone(),
    }
}
