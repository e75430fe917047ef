//! What a slice of a record batch holds of the columns that it was cut from.
//!
//! A slice shares the memory of the whole, and Arrow's own accounts of it differ by type: the views of `Utf8View` and
//! `BinaryView` keep every buffer they may point into, lists keep all their items.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    RecordBatchOptions, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// Bytes that the rows of an array use, about: what a copy of them would take.
pub fn used_bytes(array: &ArrayRef) -> usize {
    let items = |values: &ArrayRef, first: usize, last: usize| used_bytes(&values.slice(first, last - first));
    match array.data_type() {
        DataType::Utf8View => array.len() * size_of::<u128>() + array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => array.len() * size_of::<u128>() + array.as_binary_view().total_buffer_bytes_used(),
        DataType::Struct(_) => array.as_struct().columns().iter().map(used_bytes).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = ends(list.offsets());
            size_of_val(list.value_offsets()) + items(list.values(), first, last)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (first, last) = ends(list.offsets());
            size_of_val(list.value_offsets()) + items(list.values(), first, last)
        }
        DataType::FixedSizeList(_, _) => used_bytes(array.as_fixed_size_list().values()),
        // The values are shared by all rows.
        DataType::Dictionary(_, _) => {
            let keys = array.as_any_dictionary().keys();
            keys.len() * keys.data_type().primitive_width().unwrap_or_default()
        }
        _ => array.to_data().get_slice_memory_size().unwrap_or_default(),
    }
}

/// The same rows with views that point into buffers of their own, also inside structs and lists. Other columns are
/// passed on as they are.
pub(super) fn compact(record_batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns: Result<Vec<ArrayRef>, ArrowError> = record_batch.columns().iter().map(compact_array).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(record_batch.num_rows()));
    RecordBatch::try_new_with_options(record_batch.schema(), columns?, &options)
}

fn compact_array(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !has_views(array.data_type()) {
        return Ok(Arc::clone(array));
    }
    let nulls = array.nulls().cloned();
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::Struct(fields) => {
            let columns: Result<Vec<ArrayRef>, ArrowError> =
                array.as_struct().columns().iter().map(compact_array).collect();
            Arc::new(StructArray::try_new(fields.clone(), columns?, nulls)?)
        }
        DataType::List(_) => Arc::new(compact_list(array.as_list::<i32>())?),
        DataType::LargeList(_) => Arc::new(compact_list(array.as_list::<i64>())?),
        DataType::FixedSizeList(field, size) => {
            let values = compact_array(array.as_fixed_size_list().values())?;
            Arc::new(FixedSizeListArray::try_new_with_length(Arc::clone(field), *size, values, nulls, array.len())?)
        }
        DataType::Map(field, sorted) => {
            let map = array.as_map();
            let (first, last) = ends(map.offsets());
            let entries: ArrayRef = Arc::new(map.entries().slice(first, last - first));
            let entries = compact_array(&entries)?.as_struct().clone();
            Arc::new(MapArray::try_new(Arc::clone(field), from_zero(map.offsets()), entries, nulls, *sorted)?)
        }
        _ => Arc::clone(array),
    })
}

fn compact_list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Result<GenericListArray<O>, ArrowError> {
    let (DataType::List(field) | DataType::LargeList(field)) = list.data_type() else { return Ok(list.clone()) };
    let (first, last) = ends(list.offsets());
    let values = compact_array(&list.values().slice(first, last - first))?;
    GenericListArray::try_new(Arc::clone(field), from_zero(list.offsets()), values, list.nulls().cloned())
}

/// Whether there are views that [`compact_array`] reaches. A dictionary's values are written once, not with every
/// slice.
fn has_views(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_views(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_views(field.data_type()),
        _ => false,
    }
}

/// First item of the first row and the one after the last item of the last row. Offsets are never empty.
fn ends<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (usize, usize) {
    let end = |offset: Option<&O>| offset.map_or(0, |offset| offset.as_usize());
    (end(offsets.first()), end(offsets.last()))
}

fn from_zero<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> OffsetBuffer<O> {
    OffsetBuffer::from_lengths(offsets.lengths())
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryViewArray, Int32Array, StringArray, StringViewArray};
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    /// 100 values of 1,000 bytes as views.
    fn views() -> ArrayRef {
        Arc::new(BinaryViewArray::from_iter_values((0..100u8).map(|value| vec![value; 1000])))
    }

    fn item(data_type: &DataType) -> Arc<Field> {
        Arc::new(Field::new("item", data_type.clone(), true))
    }

    /// Columns of 100 rows (50 for the lists of two) that hold `views` in every way.
    fn nested() -> Vec<ArrayRef> {
        let inner = views();
        let text: ArrayRef =
            Arc::new(StringViewArray::from_iter_values((0..100).map(|value| format!("{value:0>1000}"))));
        let in_struct = StructArray::try_new(
            vec![Field::new("bytes", DataType::BinaryView, true), Field::new("path", DataType::Utf8View, true)].into(),
            vec![inner.clone(), text.clone()],
            None,
        )
        .unwrap();
        let pairs = OffsetBuffer::<i32>::from_lengths([2; 50]);
        let list = GenericListArray::try_new(item(&DataType::BinaryView), pairs.clone(), inner.clone(), None).unwrap();
        let large = OffsetBuffer::<i64>::from_lengths([2; 50]);
        let large = GenericListArray::try_new(item(&DataType::BinaryView), large, inner.clone(), None).unwrap();
        let fixed = FixedSizeListArray::try_new(item(&DataType::Utf8View), 2, text.clone(), None).unwrap();
        let entries = StructArray::try_new(
            vec![Field::new("keys", DataType::Int32, false), Field::new("values", DataType::BinaryView, true)].into(),
            vec![Arc::new(Int32Array::from_iter_values(0..100)), inner.clone()],
            None,
        )
        .unwrap();
        let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        let map = MapArray::try_new(field, pairs, entries, None, false).unwrap();
        vec![inner, text, Arc::new(in_struct), Arc::new(list), Arc::new(large), Arc::new(fixed), Arc::new(map)]
    }

    #[test]
    fn compacted_slices_are_equal_and_small() {
        for whole in nested() {
            let slice = whole.slice(7, 3);
            let compacted = compact_array(&slice).unwrap();
            assert_eq!(&compacted, &slice, "{}", slice.data_type());
            let (before, after) =
                (slice.to_data().get_buffer_memory_size(), compacted.to_data().get_buffer_memory_size());
            assert!(before > 90_000 && after < 20_000, "{}: {before} to {after} bytes", slice.data_type());
        }
    }

    #[test]
    fn bytes_of_a_slice_follow_its_rows() {
        for whole in nested().into_iter().take(6) {
            let (part, all) = (used_bytes(&whole.slice(7, 3)), used_bytes(&whole));
            assert!((3000..15_000).contains(&part), "{}: {part}", whole.data_type());
            assert!(all >= 100_000, "{}: {all}", whole.data_type());
        }
        let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|value| format!("{value:0>1000}"))));
        assert!((3000..4000).contains(&used_bytes(&text.slice(7, 3))));
        let dictionary: arrow::array::DictionaryArray<Int32Type> =
            (0..100).map(|value| format!("{value:0>1000}")).collect::<Vec<_>>().iter().map(String::as_str).collect();
        let dictionary: ArrayRef = Arc::new(dictionary);
        assert_eq!(used_bytes(&dictionary.slice(7, 3)), 12);
    }
}
