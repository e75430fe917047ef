//! The most probable classes with their probabilities.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, ListArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float32Type};
use datafusion::common::Result;
use dismax::columns::{Columns, ScoredColumn, ScoredColumns};

/// List of structs of class and probability.
pub(super) fn data_type() -> DataType {
    DataType::List(item())
}

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(class_and_probability()), false))
}

fn class_and_probability() -> Fields {
    Fields::from(vec![Field::new("class", DataType::Utf8, false), Field::new("probability", DataType::Float32, false)])
}

/// Of each row the `count` most probable classes, or all where there are fewer: the most probable first, of equal ones
/// the first in the model's order. Null where the row has an error.
pub(super) fn array(columns: &Columns, scored: &ScoredColumns, count: u32) -> Result<ArrayRef> {
    let lists = scored.array(ScoredColumn::Probabilities).as_fixed_size_list();
    let values = lists.values().as_primitive::<Float32Type>().values();
    let (names, classes) = (columns.class_names(), columns.classes());
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(classes);
    let (mut lengths, mut top, mut probabilities) = (Vec::with_capacity(lists.len()), Vec::new(), Vec::new());
    let mut order: Vec<usize> = Vec::with_capacity(classes);
    for row in 0..lists.len() {
        lengths.push(if lists.is_valid(row) { count } else { 0 });
        if lists.is_null(row) {
            continue;
        }
        let at = lists.value_offset(row) as usize;
        let of_row = &values[at..at + classes];
        order.clear();
        order.extend(0..classes);
        let by_probability = |one: &usize, other: &usize| of_row[*other].total_cmp(&of_row[*one]).then(one.cmp(other));
        if count < classes {
            order.select_nth_unstable_by(count, by_probability);
            order.truncate(count);
        }
        order.sort_unstable_by(by_probability);
        top.extend(order.iter().map(|class| names.value(*class)));
        probabilities.extend(order.iter().map(|class| of_row[*class]));
    }
    let arrays: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from_iter_values(top)), Arc::new(Float32Array::from(probabilities))];
    let items = Arc::new(StructArray::try_new(class_and_probability(), arrays, None)?);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(item(), offsets, items, lists.nulls().cloned())?))
}
