//! One schema for many files.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::huggingface;
use super::raw_pixels::tensor_shape;
use crate::{Error, Result};

/// Checks that `other` (of the file `origin`) has the columns of `first` (of the file `first_origin`): same names,
/// order and types. Metadata and nullability may differ, but not the names of classes and the shape of tensors: the
/// same values would mean two things. Returns `first`, with columns nullable where one of the two is.
pub(super) fn merge(first: &SchemaRef, first_origin: &str, other: &SchemaRef, origin: &str) -> Result<SchemaRef> {
    let refuse = |message: String| Err(Error::data(origin, format!("{message}; use files with the same columns")));
    for field in other.fields() {
        if first.field_with_name(field.name()).is_err() {
            return refuse(format!("has a column \"{}\" that {first_origin} has not", field.name()));
        }
    }
    for field in first.fields() {
        match other.field_with_name(field.name()) {
            Err(_) => return refuse(format!("has no column \"{}\", which {first_origin} has", field.name())),
            Ok(found) if plain(found.data_type()) != plain(field.data_type()) => {
                return refuse(format!(
                    "column \"{}\" is {}, in {first_origin} it is {}",
                    field.name(),
                    found.data_type(),
                    field.data_type()
                ));
            }
            Ok(_) => {}
        }
    }
    let mut fields = Vec::with_capacity(first.fields().len());
    for (field, found) in first.fields().iter().zip(other.fields()) {
        if field.name() != found.name() {
            return refuse(format!("column \"{}\" stands where {first_origin} has \"{}\"", found.name(), field.name()));
        }
        if tensor_shape(field) != tensor_shape(found) {
            return refuse(format!(
                "the tensors of column \"{}\" have another shape than in {first_origin}",
                field.name()
            ));
        }
        fields.push(nullable_where_either_is(field, found));
    }
    for field in first.fields() {
        let names = |schema: &Schema| huggingface::class_names(schema, field.name());
        if let (Some(names), Some(found)) = (names(first), names(other))
            && names != found
        {
            return Err(Error::data(
                origin,
                format!(
                    "the classes of column \"{}\" are {found:?}, in {first_origin} {names:?}; the same number would mean two \
                     classes: give both files the same list, or labels as text",
                    field.name()
                ),
            ));
        }
    }
    // Names may repeat in Arrow; then the lookups by name above compared only the first of them.
    if first.fields().len() != other.fields().len() {
        return refuse(format!("has {} columns, {first_origin} has {}", other.fields().len(), first.fields().len()));
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, first.metadata().clone())))
}

/// `first`, nullable where one of the two is, also inside lists and structs. Both have the same [`plain`] type.
fn nullable_where_either_is(first: &Field, other: &Field) -> Field {
    let merged = |first: &Arc<Field>, other: &Arc<Field>| Arc::new(nullable_where_either_is(first, other));
    let data_type = match (first.data_type(), other.data_type()) {
        (DataType::List(one), DataType::List(two)) => DataType::List(merged(one, two)),
        (DataType::LargeList(one), DataType::LargeList(two)) => DataType::LargeList(merged(one, two)),
        (DataType::FixedSizeList(one, length), DataType::FixedSizeList(two, _)) => {
            DataType::FixedSizeList(merged(one, two), *length)
        }
        (DataType::Struct(one), DataType::Struct(two)) => {
            DataType::Struct(one.iter().zip(two).map(|(one, two)| merged(one, two)).collect())
        }
        (data_type, _) => data_type.clone(),
    };
    first.clone().with_data_type(data_type).with_nullable(first.is_nullable() || other.is_nullable())
}

/// `batch` under the dataset's schema: the same columns, types adjusted where they differ in nested metadata.
pub(super) fn conform(batch: RecordBatch, schema: &SchemaRef, origin: &str) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let wrap = |source| Error::Arrow { origin: origin.to_string(), source };
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns: Result<Vec<ArrayRef>, _> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast(column, field.data_type())
            }
        })
        .collect();
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.map_err(wrap)?, &options).map_err(wrap)
}

/// The column that a user named, with its position.
///
/// # Errors
/// A message where there is none, or several have the name.
pub(super) fn named<'a>(schema: &'a Schema, wanted: &str) -> Result<(usize, &'a Field), String> {
    let fields = || schema.fields().iter().map(AsRef::as_ref).enumerate();
    let mut found = fields().filter(|(_, field): &(usize, &Field)| field.name() == wanted);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(format!("there is no column \"{wanted}\"; the columns are {}", list_columns(fields()))),
        (Some(_), Some(_)) => Err(format!("several columns are called \"{wanted}\"; give each a name of its own")),
    }
}

/// Columns with their types, for messages: `"img" (Binary), "label" (Int64)`.
pub fn list_columns<'a>(columns: impl Iterator<Item = (usize, &'a Field)>) -> String {
    // A table of thousands of columns would bury the message.
    const SHOWN: usize = 30;
    let mut columns = columns.map(|(_, field)| format!("\"{}\" ({})", field.name(), field.data_type()));
    let mut shown: Vec<String> = columns.by_ref().take(SHOWN).collect();
    match columns.count() {
        0 if shown.is_empty() => "none".into(),
        0 => shown.join(", "),
        more => {
            shown.push(format!("and {more} more"));
            shown.join(", ")
        }
    }
}

/// A type without nested metadata, nested nullability and the names of list items, which writers choose freely.
fn plain(data_type: &DataType) -> DataType {
    let item = |field: &Arc<Field>| Arc::new(Field::new("item", plain(field.data_type()), true));
    match data_type {
        DataType::List(field) => DataType::List(item(field)),
        DataType::LargeList(field) => DataType::LargeList(item(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(item(field), *length),
        DataType::Struct(fields) => {
            let fields: Fields =
                fields.iter().map(|field| Field::new(field.name(), plain(field.data_type()), true)).collect();
            DataType::Struct(fields)
        }
        other => other.clone(),
    }
}
