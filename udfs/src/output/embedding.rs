//! What the network's last stage gives.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, internal_datafusion_err};
use dismax::columns::{Columns, ScoredColumn, ScoredColumns};
use dismax::stage::Scored;

/// List of as many numbers as the model's last stage has channels.
pub(super) fn data_type(columns: &Columns) -> DataType {
    DataType::FixedSizeList(item(), width(columns) as i32)
}

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Float32, false))
}

fn width(columns: &Columns) -> usize {
    columns.model().input().stages().last().copied().expect("a network has stages")
}

/// The mean over height and width of the last stage's channels, which the head sees; of an embedding itself, at length 1. Null where a row has an error.
pub(super) fn array(columns: &Columns, answered: &Scored, scored: &ScoredColumns) -> Result<ArrayRef> {
    let (width, errors) = (width(columns), scored.array(ScoredColumn::Error));
    let mut values = Vec::with_capacity(errors.len() * width);
    for row in 0..errors.len() {
        match answered.output(row) {
            Ok(output) => {
                let features =
                    output.features.and_then(|features| features.len().checked_sub(width).map(|at| &features[at..]));
                values
                    .extend_from_slice(features.ok_or_else(|| internal_datafusion_err!("nobody asked for features"))?);
            }
            Err(_) => values.resize(values.len() + width, 0.0),
        }
    }
    let nulls: NullBuffer = (0..errors.len()).map(|row| errors.is_null(row)).collect::<Vec<_>>().into();
    Ok(Arc::new(FixedSizeListArray::try_new(item(), width as i32, Arc::new(Float32Array::from(values)), Some(nulls))?))
}
