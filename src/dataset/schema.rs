//! One schema for many files.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::raw_pixels::tensor_shape;
use super::{huggingface, widths};
use crate::{Error, Result};

/// One schema for `first` (of the file `first_origin`) and `other` (of the file `origin`): the columns of `first` in
/// its order, each of the type that holds the values of both, nullable where one of the two is. Metadata may differ,
/// but not the names of classes and the shape of tensors: the same values would mean two things.
///
/// # Errors
/// [`Error::Data`] naming the file and the column that does not fit.
pub(super) fn merge(first: &SchemaRef, first_origin: &str, other: &SchemaRef, origin: &str) -> Result<SchemaRef> {
    if first.fields() == other.fields() && first.metadata() == other.metadata() {
        return Ok(Arc::clone(first));
    }
    let refuse = |message: String| Err(Error::data(origin, format!("{message}; use files with the same columns")));
    let mut left: Vec<&Arc<Field>> = other.fields().iter().collect();
    let mut fields = Vec::with_capacity(first.fields().len());
    for field in first.fields() {
        // Where a name repeats, the columns keep their order.
        let Some(found) = left.iter().position(|other| other.name() == field.name()).map(|at| left.remove(at)) else {
            return refuse(format!("has no column \"{}\", which {first_origin} has", field.name()));
        };
        let Some(common) = widths::common_field(field, found) else {
            return refuse(format!(
                "column \"{}\" is {}, in {first_origin} it is {}",
                field.name(),
                found.data_type(),
                field.data_type()
            ));
        };
        if tensor_shape(field) != tensor_shape(found) {
            return refuse(format!(
                "the tensors of column \"{}\" have another shape than in {first_origin}",
                field.name()
            ));
        }
        fields.push(common);
    }
    if let Some(field) = left.first() {
        return refuse(format!("has a column \"{}\" that {first_origin} has not", field.name()));
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
    Ok(Arc::new(Schema::new_with_metadata(fields, first.metadata().clone())))
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
