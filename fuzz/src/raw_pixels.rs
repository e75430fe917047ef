//! Columns of unencoded pixels: tensors, whose shape is JSON from outside, and lists in lists of any lengths.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, ListArray, RecordBatch, UInt8Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use dismax::image::{Layout, raw};

use crate::file::read_batch;

/// The first bytes say what kind of column it is, the rest are its shape and its values.
pub fn run(bytes: &[u8]) -> bool {
    let Some((&[kind, a, b, c], data)) = bytes.split_first_chunk::<4>() else { return false };
    match kind % 3 {
        0 => {
            let layout = if a & 1 == 0 { Layout::Hwc } else { Layout::Chw };
            let size = |size: u8| u32::from(size) << (kind >> 5);
            let Ok(pixels) = raw(data, size(a), size(b), size(c), layout) else { return false };
            assert_eq!(pixels.data.len() as u64, 3 * u64::from(pixels.width) * u64::from(pixels.height));
            true
        }
        1 => read_column(tensor(data, a)),
        _ => read_column(nested(data, [a, b, c])),
    }
}

fn read_column(column: Option<(Field, ArrayRef)>) -> bool {
    let Some((field, array)) = column else { return false };
    let record_batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]);
    read_batch(&record_batch.expect("the array has the field's type")) > 0
}

/// One row: values of which the first ones, up to a zero, say what a tensor's shape is.
fn tensor(data: &[u8], length: u8) -> Option<(Field, ArrayRef)> {
    let end = data.iter().position(|byte| *byte == 0)?;
    let shape = std::str::from_utf8(&data[..end]).ok()?;
    let values = data.get(end + 1..end + 1 + usize::from(length))?;
    let item = Arc::new(Field::new("item", DataType::UInt8, false));
    let values = Arc::new(UInt8Array::from(values.to_vec()));
    let array = FixedSizeListArray::try_new(item, length.into(), values, None).ok()?;
    let metadata = [("ARROW:extension:name", "arrow.fixed_shape_tensor"), ("ARROW:extension:metadata", shape)];
    let metadata: HashMap<_, _> = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let field = Field::new("image", array.data_type().clone(), true).with_metadata(metadata);
    Some((field, Arc::new(array)))
}

/// One row: lists of values, or lists of these, none of which need be equally long.
fn nested(data: &[u8], [long, short, depth]: [u8; 3]) -> Option<(Field, ArrayRef)> {
    let mut array: ArrayRef = Arc::new(UInt8Array::from(data.to_vec()));
    for (level, length) in [long, short].into_iter().take(1 + usize::from(depth % 2)).enumerate() {
        // Every fifth list is one longer than the others where the lowest bit says so.
        let (mut lengths, mut rest) = (Vec::new(), array.len());
        while rest > 0 {
            let odd = usize::from(lengths.len() % 5 == 4 && depth >> (level + 1) & 1 == 1);
            let next = (usize::from(length) + odd).clamp(1, rest);
            lengths.push(next);
            rest -= next;
        }
        array = list(array, lengths)?;
    }
    let rows = array.len();
    let array = list(array, vec![rows])?;
    Some((Field::new("image", array.data_type().clone(), true), array))
}

fn list(values: ArrayRef, lengths: Vec<usize>) -> Option<ArrayRef> {
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    Some(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None).ok()?))
}
