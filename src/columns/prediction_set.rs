//! The column of prediction sets.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type};
use arrow::error::ArrowError;

use crate::calibration::SetThresholds;

/// Name of the column, without prefix.
pub(super) const NAME: &str = "prediction_set";

/// Field of one class name.
fn class() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Utf8, false))
}

/// List of class names. Not of dictionaries: hardly a reader knows these within lists.
pub(super) fn data_type() -> DataType {
    DataType::List(class())
}

/// The set of each row; null where the row has no probabilities.
pub(super) fn array(
    thresholds: &SetThresholds,
    names: &StringArray,
    probabilities: &FixedSizeListArray,
) -> Result<ArrayRef, ArrowError> {
    let values = probabilities.values().as_primitive::<Float32Type>().values();
    let classes = names.len();
    let (mut lengths, mut sets) = (Vec::with_capacity(probabilities.len()), Vec::new());
    for row in 0..probabilities.len() {
        let before = sets.len();
        if probabilities.is_valid(row) {
            let at = probabilities.value_offset(row) as usize;
            sets.extend(thresholds.set(&values[at..at + classes]).map(|class| names.value(class)));
        }
        lengths.push(sets.len() - before);
    }
    let names = Arc::new(StringArray::from_iter_values(sets));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(class(), offsets, names, probabilities.nulls().cloned())?))
}
