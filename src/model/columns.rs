//! Which column a model scores.

use arrow::datatypes::{Field, Schema};

use super::Model;
use super::input::{EmbeddingInput, ModelInput};
use crate::dataset::{Dataset, EmbeddingColumn, ImageColumn, InputColumn, LoadOptions};
use crate::error::{ColumnRole, Error, Result};

impl Model {
    /// The column of a dataset that the model scores: `wanted`, or the only one that fits.
    ///
    /// # Errors
    /// As [`Dataset::image_column`], [`LoadOptions::require_paths`] and [`Dataset::embedding_column`]; for a column
    /// whose type says that its embeddings have another length.
    pub fn input_column(&self, dataset: &Dataset, wanted: Option<&str>, load: &LoadOptions) -> Result<InputColumn> {
        match self.input() {
            ModelInput::Images(_) => {
                let column = dataset.image_column(wanted)?;
                load.require_paths(&column)?;
                Ok(InputColumn::Image(column))
            }
            ModelInput::Embeddings(input) => {
                require_length(input, dataset.embedding_column(wanted)?).map(InputColumn::Embedding)
            }
        }
    }

    /// The column of a schema that the model scores: `wanted`, or the only one that fits.
    ///
    /// # Errors
    /// As [`ImageColumn::find`] and [`EmbeddingColumn::find`]; for a column whose type says that its embeddings have
    /// another length.
    pub fn input_column_in(&self, schema: &Schema, wanted: Option<&str>) -> Result<InputColumn> {
        match self.input() {
            ModelInput::Images(_) => ImageColumn::find(schema, wanted).map(InputColumn::Image),
            ModelInput::Embeddings(input) => {
                require_length(input, EmbeddingColumn::find(schema, wanted)?).map(InputColumn::Embedding)
            }
        }
    }

    /// The column that consists of arrays of this field.
    ///
    /// # Errors
    /// When a column of this type holds nothing that the model scores.
    pub fn input_column_of(&self, field: &Field) -> Result<InputColumn> {
        match self.input() {
            ModelInput::Images(_) => ImageColumn::from_field(field).map(InputColumn::Image),
            ModelInput::Embeddings(input) => {
                require_length(input, EmbeddingColumn::from_field(field)?).map(InputColumn::Embedding)
            }
        }
    }
}

/// Lists of a fixed length that is not the model's would all fail.
fn require_length(input: &EmbeddingInput, column: EmbeddingColumn) -> Result<EmbeddingColumn> {
    match column.length().filter(|length| *length != input.dimensions) {
        None => Ok(column),
        Some(length) => Err(Error::column(
            ColumnRole::Embedding,
            format!("\"{}\" has {length} numbers a row, but the model scores {}", column.name(), input.dimensions),
        )),
    }
}
