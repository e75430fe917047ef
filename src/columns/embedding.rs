//! The column of embeddings: what the network's last stage gives.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};

use super::fault;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::stage::Scored;

/// List of as many numbers as the model's last stage has channels.
pub fn embedding_type(model: &Model) -> DataType {
    DataType::FixedSizeList(item(), width(model) as i32)
}

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Float32, false))
}

fn width(model: &Model) -> usize {
    model.input().stages().last().copied().expect("a network has stages")
}

/// The mean over height and width of the last stage's channels, which the head sees; of an embedding itself, at length
/// 1. Null where a row has an error.
///
/// # Errors
/// [`Error::Internal`] where the rows were scored without features.
pub fn embeddings<V>(scored: &Scored<V>) -> Result<ArrayRef> {
    let (width, rows) = (width(scored.model()), scored.rows().len());
    let (mut values, mut valid) = (Vec::with_capacity(rows * width), Vec::with_capacity(rows));
    for row in 0..rows {
        let output = scored.output(row);
        valid.push(output.is_ok());
        match output {
            Ok(output) => {
                let features = output.features.ok_or_else(|| Error::Internal("nobody asked for features".into()))?;
                values.extend_from_slice(&features[features.len() - width..]);
            }
            Err(_) => values.resize(values.len() + width, 0.0),
        }
    }
    let values = Arc::new(Float32Array::from(values));
    let lists = FixedSizeListArray::try_new(item(), width as i32, values, Some(NullBuffer::from(valid)));
    Ok(Arc::new(lists.map_err(fault)?))
}
