//! Which column holds embeddings, and how to get one out of it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type, Schema};
use sha2::{Digest as _, Sha256};

use super::ImageDigest;
use super::chunk::Chunk;
use super::schema::{list_columns, named};
use super::slices::used_bytes;
use crate::error::ColumnRole;
use crate::{Error, Result, RowError, RowErrorCode};

/// The forms that are understood, for messages.
const FORMS: &str = "an embedding column holds lists of float16, float32 or float64, of fixed size or not";

/// A column whose rows are lists of numbers: what another network made of an image, a text or a sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingColumn {
    name: String,
    index: usize,
    length: Option<usize>,
}

impl EmbeddingColumn {
    /// Finds the column by its type, or takes the one that the user named.
    ///
    /// # Errors
    /// When no column fits, several fit, or the named one does not exist or does not fit; the message lists the columns
    /// in question with their types.
    pub fn find(schema: &Schema, wanted: Option<&str>) -> Result<Self> {
        let fields = || schema.fields().iter().map(AsRef::as_ref).enumerate();
        let column = |(index, field): (usize, &Field)| Self { index, ..Self::of(field) };
        let refused = |message: String| Error::column(ColumnRole::Embedding, message);
        if let Some(wanted) = wanted {
            let found = named(schema, wanted).map_err(refused)?;
            return match is_embedding(found.1.data_type()) {
                true => Ok(column(found)),
                false => Err(refused(format!("\"{wanted}\" is {}; {FORMS}", found.1.data_type()))),
            };
        }
        let mut fitting = fields().filter(|(_, field)| is_embedding(field.data_type()));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(column(only)),
            (None, _) => Err(refused(format!("no column fits: {FORMS}; the columns are {}", list_columns(fields())))),
            (Some(_), Some(_)) => Err(refused(format!(
                "several columns fit: {}; name one of them",
                list_columns(fields().filter(|(_, field)| is_embedding(field.data_type())))
            ))),
        }
    }

    /// The column that consists of arrays of this field.
    ///
    /// # Errors
    /// When a column of this type holds no embeddings.
    pub fn from_field(field: &Field) -> Result<Self> {
        match is_embedding(field.data_type()) {
            true => Ok(Self::of(field)),
            false => {
                Err(Error::data("embedding column", format!("\"{}\" is {}; {FORMS}", field.name(), field.data_type())))
            }
        }
    }

    fn of(field: &Field) -> Self {
        let length = match field.data_type() {
            DataType::FixedSizeList(_, length) => usize::try_from(*length).ok(),
            _ => None,
        };
        Self { name: field.name().clone(), index: 0, length }
    }

    /// Numbers of each row, where the type says so.
    pub fn length(&self) -> Option<usize> {
        self.length
    }

    /// Name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Position of the column in the schema it was found in.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The embeddings of a chunk that has this column, at any position.
    ///
    /// # Errors
    /// When the chunk lacks the column or has it with another type.
    pub fn embeddings(&self, chunk: &Chunk) -> Result<Embeddings> {
        self.embeddings_in(&chunk.record_batch)
    }

    /// The embeddings of a record batch that has this column, at any position.
    ///
    /// # Errors
    /// When the record batch lacks the column or has it with another type.
    pub fn embeddings_in(&self, record_batch: &RecordBatch) -> Result<Embeddings> {
        let array = record_batch.column_by_name(&self.name).ok_or_else(|| {
            Error::data("embedding column", format!("a record batch has no column \"{}\"", self.name))
        })?;
        let bytes = record_batch.columns().iter().map(used_bytes).sum();
        Ok(Embeddings { bytes, ..self.embeddings_of(array)? })
    }

    /// The embeddings of an array that has this column's type.
    ///
    /// # Errors
    /// When the array has another type.
    pub fn embeddings_of(&self, array: &ArrayRef) -> Result<Embeddings> {
        match is_embedding(array.data_type()) {
            true => Ok(Embeddings { bytes: used_bytes(array), rows: array.len(), parts: Arc::new([array.clone()]) }),
            false => Err(Error::data(
                "embedding column",
                format!("\"{}\" changed its type to {} in a record batch", self.name, array.data_type()),
            )),
        }
    }
}

/// Whether a column of this type holds embeddings.
pub(super) fn is_embedding(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            matches!(item.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64)
        }
        _ => false,
    }
}

/// Embeddings of one record batch, or of several. Shares their memory.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// Lists of numbers, one array after the other.
    parts: Arc<[ArrayRef]>,
    rows: usize,
    bytes: usize,
}

impl Embeddings {
    /// The embeddings of several record batches, one after the other.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let (rows, bytes) = (parts.iter().map(Self::len).sum(), parts.iter().map(Self::bytes).sum());
        Self { parts: parts.iter().flat_map(|part| part.parts.iter().cloned()).collect(), rows, bytes }
    }

    /// Number of rows, with and without an embedding.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of the record batches that stay in memory with these embeddings, the other columns included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Length of the first list with numbers; none where all rows are null or empty.
    pub fn first_length(&self) -> Option<usize> {
        let lengths = self
            .parts
            .iter()
            .flat_map(|part| (0..part.len()).filter(|row| part.is_valid(*row)).map(|row| list(part, row).1.len()));
        lengths.into_iter().find(|length| *length > 0)
    }

    /// Writes the embeddings of these rows one after the other, `dimensions` numbers each, and gives for each row why
    /// it has none. What is written for such a row means nothing.
    ///
    /// # Errors
    /// For a row `null_embedding`, `wrong_length` for a list of another length, and `non_finite_embedding` for one with
    /// nulls, infinite numbers or NaN.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn read(
        &self,
        rows: std::ops::Range<usize>,
        dimensions: usize,
        out: &mut Vec<f32>,
    ) -> Vec<Result<(), RowError>> {
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut first = 0;
        out.clear();
        out.reserve(rows.len() * dimensions);
        for part in self.parts.iter() {
            let begin = rows.start.max(first) - first;
            let end = rows.end.min(first + part.len()).saturating_sub(first);
            for row in begin..end.max(begin) {
                let before = out.len();
                outcomes.push(append(part, row, dimensions, out));
                out.resize(before + dimensions, 0.0);
            }
            first += part.len();
        }
        assert_eq!(outcomes.len(), rows.len(), "rows of these embeddings");
        outcomes
    }

    /// Digest of a row's embedding, as f32, or of why it has none. Equal where the numbers are, in whatever form of
    /// column.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn digest(&self, row: usize, dimensions: usize) -> ImageDigest {
        let mut values = Vec::new();
        let outcome = self.read(row..row + 1, dimensions, &mut values);
        digest_of_embedding(outcome[0].as_ref().map(|()| &values[..]))
    }
}

/// Digest of an embedding, or of why there is none.
pub fn digest_of_embedding(values: Result<&[f32], &RowError>) -> ImageDigest {
    let mut digest = Sha256::new();
    match values {
        Err(error) => {
            digest.update(b"error");
            digest.update(error.to_string());
        }
        Ok(values) => {
            digest.update(b"embedding");
            values.iter().for_each(|value| digest.update(value.to_le_bytes()));
        }
    }
    digest.finalize().into()
}

/// Appends the numbers of a row, or says why they cannot be used.
fn append(array: &ArrayRef, row: usize, dimensions: usize, out: &mut Vec<f32>) -> Result<(), RowError> {
    if array.is_null(row) {
        return Err(RowError::new(RowErrorCode::NullEmbedding, ""));
    }
    let (values, range) = list(array, row);
    if range.len() != dimensions {
        let message = format!("{} numbers instead of {dimensions}", range.len());
        return Err(RowError::new(RowErrorCode::WrongLength, message));
    }
    if values.null_count() > 0 && range.clone().any(|at| values.is_null(at)) {
        return Err(RowError::new(RowErrorCode::NonFiniteEmbedding, "a number is null"));
    }
    let start = out.len();
    match values.data_type() {
        DataType::Float16 => convert::<Float16Type>(values, range, out, half::f16::to_f32),
        DataType::Float32 => out.extend_from_slice(&values.as_primitive::<Float32Type>().values()[range]),
        _ => convert::<Float64Type>(values, range, out, |value| value as f32),
    }
    match out[start..].iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let message = format!("number {at} is {}", out[start + at]);
            Err(RowError::new(RowErrorCode::NonFiniteEmbedding, message))
        }
    }
}

/// The numbers that the lists of an array lie in, and where those of a row do.
fn list(array: &ArrayRef, row: usize) -> (&ArrayRef, std::ops::Range<usize>) {
    match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let offsets = &lists.value_offsets()[row..row + 2];
            (lists.values(), offsets[0] as usize..offsets[1] as usize)
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            let offsets = &lists.value_offsets()[row..row + 2];
            (lists.values(), offsets[0] as usize..offsets[1] as usize)
        }
        _ => {
            let lists = array.as_fixed_size_list();
            let start = lists.value_offset(row) as usize;
            (lists.values(), start..start + lists.value_length() as usize)
        }
    }
}

fn convert<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    range: std::ops::Range<usize>,
    out: &mut Vec<f32>,
    single: impl Fn(T::Native) -> f32,
) {
    let values: &PrimitiveArray<T> = values.as_primitive();
    out.extend(values.values()[range].iter().map(|value| single(*value)));
}
