//! The encoders of the three formats behind one face.

use std::error::Error as _;
use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{self, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::Format;
use super::bytes::is_binary;
use super::embedding_column::is_embedding;
use super::raw_pixels::nesting;
use super::slices::compact;
use super::write_options::{Compression, WriteOptions};
use crate::Error;

type Output = Box<dyn Write + Send>;

pub(super) enum Sink {
    Parquet(Box<ArrowWriter<Output>>),
    /// The schema without dictionaries stands beside the writer.
    IpcFile(Box<FileWriter<Output>>, SchemaRef),
    IpcStream(Box<StreamWriter<Output>>),
}

/// What an encoder answers, before it is known what the output is called.
#[derive(Debug)]
pub(super) enum SinkError {
    Parquet(ParquetError),
    Arrow(ArrowError),
}

impl From<ParquetError> for SinkError {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl From<ArrowError> for SinkError {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

impl SinkError {
    /// The run's error about `origin`. What the operating system answered comes out as [`Error::Io`], so that a closed
    /// pipe can be told from a fault.
    pub(super) fn about(self, origin: &str) -> Error {
        let system = match &self {
            Self::Arrow(ArrowError::IoError(_, source)) => Some(source),
            Self::Arrow(error) => error.source().and_then(|source| source.downcast_ref::<io::Error>()),
            Self::Parquet(ParquetError::External(source)) => source.downcast_ref::<io::Error>(),
            Self::Parquet(_) => None,
        };
        if let Some(source) = system {
            return Error::Io { path: origin.into(), source: io::Error::new(source.kind(), source.to_string()) };
        }
        match self {
            Self::Parquet(source) => Error::Parquet { origin: origin.to_string(), source },
            Self::Arrow(source) => Error::Arrow { origin: origin.to_string(), source },
        }
    }
}

impl Sink {
    pub(super) fn try_new(
        format: Format,
        output: Output,
        schema: &SchemaRef,
        options: &WriteOptions,
    ) -> Result<Self, SinkError> {
        let ipc_options = || {
            IpcWriteOptions::default().try_with_compression(match options.compression {
                Compression::None => None,
                Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
                Compression::Zstd => Some(CompressionType::ZSTD),
            })
        };
        Ok(match format {
            Format::Parquet => {
                refuse_types_without_parquet(schema)?;
                let properties = parquet_properties(schema, options);
                Self::Parquet(Box::new(ArrowWriter::try_new(output, schema.clone(), Some(properties))?))
            }
            Format::IpcFile => {
                let plain = without_dictionaries(schema);
                let writer = FileWriter::try_new_with_options(output, &plain, ipc_options()?)?;
                Self::IpcFile(Box::new(writer), plain)
            }
            Format::IpcStream => {
                Self::IpcStream(Box::new(StreamWriter::try_new_with_options(output, schema, ipc_options()?)?))
            }
        })
    }

    pub(super) fn write(&mut self, record_batch: &RecordBatch) -> Result<(), SinkError> {
        match self {
            Self::Parquet(writer) => writer.write(record_batch)?,
            // IPC writes the buffers behind views whole, and a slice has those of all rows it was cut from.
            Self::IpcFile(writer, plain) => writer.write(&compact(&with_schema(record_batch, plain)?)?)?,
            Self::IpcStream(writer) => {
                writer.write(&compact(record_batch)?)?;
                // Whoever reads the stream should not wait for rows that are ready.
                writer.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), SinkError> {
        let mut output = match self {
            Self::Parquet(writer) => writer.into_inner()?,
            Self::IpcFile(mut writer, _) => {
                writer.finish()?;
                writer.into_inner()?
            }
            Self::IpcStream(mut writer) => {
                writer.finish()?;
                writer.into_inner()?
            }
        };
        output.flush().map_err(|error| ArrowError::IoError(error.to_string(), error))?;
        Ok(())
    }
}

/// Parquet's writer panics at some types that it has no form for, in the middle of a file.
fn refuse_types_without_parquet(schema: &Schema) -> Result<(), SinkError> {
    fn unfit(data_type: &DataType) -> bool {
        match data_type {
            DataType::Union(..) | DataType::RunEndEncoded(..) | DataType::ListView(_) | DataType::LargeListView(_) => {
                true
            }
            DataType::Interval(unit) => *unit == IntervalUnit::MonthDayNano,
            DataType::Duration(_) => false,
            DataType::Struct(parts) => parts.is_empty() || parts.iter().any(|part| unfit(part.data_type())),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::Map(item, _) => unfit(item.data_type()),
            DataType::Dictionary(_, values) => unfit(values),
            _ => false,
        }
    }
    match schema.fields().iter().find(|field| unfit(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(SinkError::Parquet(ParquetError::NYI(format!(
            "Parquet has no form for column \"{}\" of type {}; write Arrow IPC (.arrow or .arrows), or leave the column out",
            field.name(),
            field.data_type()
        )))),
    }
}

fn parquet_properties(schema: &Schema, options: &WriteOptions) -> WriterProperties {
    // Readers other than Arrow's see the metadata only as plain keys; Arrow's own copy lies in its serialised schema.
    let mut metadata: Vec<KeyValue> =
        schema.metadata().iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    // A map's order changes from run to run; equal runs are to give equal bytes.
    metadata.sort_by(|one, other| one.key.cmp(&other.key));
    let mut builder = WriterProperties::builder()
        .set_compression(match options.compression {
            Compression::None => basic::Compression::UNCOMPRESSED,
            Compression::Lz4 => basic::Compression::LZ4_RAW,
            Compression::Zstd => basic::Compression::ZSTD(ZstdLevel::default()),
        })
        .set_max_row_group_row_count(Some(options.row_group_rows.max(1)))
        .set_max_row_group_bytes(Some(options.row_group_bytes.max(1)))
        .set_key_value_metadata(Some(metadata));
    for leaf in unlike_leaves(schema) {
        // No two images are alike and no two embeddings, and nobody looks for one by its first bytes.
        builder = builder
            .set_column_dictionary_enabled(leaf.clone(), false)
            .set_column_statistics_enabled(leaf, EnabledStatistics::None);
    }
    builder.build()
}

/// Parquet's paths of the columns that may hold images, binary at the top or in a struct and lists of `u8`, or
/// embeddings.
fn unlike_leaves(schema: &Schema) -> Vec<ColumnPath> {
    fn visit(field: &Field, mut path: Vec<String>, found: &mut Vec<ColumnPath>) {
        path.push(field.name().clone());
        match field.data_type() {
            DataType::Struct(parts) => parts.iter().for_each(|part| visit(part, path.clone(), found)),
            // A dictionary says that values repeat.
            DataType::Dictionary(_, _) => {}
            binary if is_binary(binary) => found.push(ColumnPath::new(path)),
            list if nesting(list).is_some() || is_embedding(list) => {
                let mut list = list;
                while let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) = list {
                    path.push("list".into());
                    path.push(item.name().clone());
                    list = item.data_type();
                }
                found.push(ColumnPath::new(path));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    schema.fields().iter().for_each(|field| visit(field, Vec::new(), &mut found));
    found
}

/// The schema with dictionary columns as their values, also inside structs and lists.
fn without_dictionaries(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| plain_field(field)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn plain_field(field: &Field) -> Field {
    let inner = |field: &Arc<Field>| Arc::new(plain_field(field));
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(inner(item), *length),
        DataType::Struct(parts) => DataType::Struct(parts.iter().map(inner).collect()),
        other => other.clone(),
    };
    // Built anew, because a dictionary's identity would stay in a copy.
    Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone())
}

fn with_schema(record_batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns: Result<Vec<ArrayRef>, ArrowError> =
        record_batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| {
                if array.data_type() == field.data_type() { Ok(array.clone()) } else { cast(array, field.data_type()) }
            })
            .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(record_batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns?, &options)
}
