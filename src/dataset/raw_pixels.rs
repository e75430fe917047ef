//! Columns of unencoded pixels: fixed-shape tensors and nested lists of `u8`.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, UInt8Array};
use arrow::datatypes::{DataType, Field, UInt8Type};

use crate::image::Layout;
use crate::{Error, Result, RowError, RowErrorCode};

/// Name of Arrow's canonical extension type for tensors of one shape.
const TENSOR: &str = "arrow.fixed_shape_tensor";

/// Height, width, channels and the order of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub height: u32,
    pub width: u32,
    pub channels: u32,
    pub layout: Layout,
}

/// Reads sizes as they lie in memory as an image: two are grey rows and columns; of three, the channels are the last if
/// that is 1, 3 or 4, else the first.
pub(super) fn shape_of(sizes: &[u32]) -> Option<Shape> {
    let is_channels = |size: u32| matches!(size, 1 | 3 | 4);
    match *sizes {
        [height, width] => Some(Shape { height, width, channels: 1, layout: Layout::Hwc }),
        [height, width, channels] if is_channels(channels) => {
            Some(Shape { height, width, channels, layout: Layout::Hwc })
        }
        [channels, height, width] if is_channels(channels) => {
            Some(Shape { height, width, channels, layout: Layout::Chw })
        }
        _ => None,
    }
}

/// The shape that a field of the extension type `arrow.fixed_shape_tensor` declares; `None` for other fields and for
/// tensors that are not `u8` images in the order rows, columns, channels or channels, rows, columns.
pub(super) fn tensor_shape(field: &Field) -> Option<Shape> {
    let DataType::FixedSizeList(item, length) = field.data_type() else { return None };
    if item.data_type() != &DataType::UInt8 || field.extension_type_name() != Some(TENSOR) {
        return None;
    }
    let metadata: serde_json::Value = serde_json::from_str(field.extension_type_metadata()?).ok()?;
    let sizes: Option<Vec<u32>> =
        metadata.get("shape")?.as_array()?.iter().map(|size| u32::try_from(size.as_u64()?).ok()).collect();
    let sizes = sizes?;
    let product = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size.into()))?;
    if i64::from(*length) != i64::try_from(product).ok()? {
        return None;
    }
    if !is_identity(&metadata) {
        return None;
    }
    // Names belong to the physical order and settle what the sizes leave open.
    let names: Option<Vec<String>> = metadata.get("dim_names").and_then(serde_json::Value::as_array).map(|names| {
        names.iter().filter_map(|name| Some(name.as_str()?.chars().next()?.to_ascii_lowercase().to_string())).collect()
    });
    match (names.as_deref().map(|names| names.concat()).as_deref(), sizes.as_slice()) {
        (Some("chw" | "cyx"), &[channels, height, width]) => {
            Some(Shape { height, width, channels, layout: Layout::Chw })
        }
        (Some("hwc" | "yxc"), &[height, width, channels]) => {
            Some(Shape { height, width, channels, layout: Layout::Hwc })
        }
        // A mask of grey values.
        (Some("hw" | "yx"), &[_, _]) | (None, _) => shape_of(&sizes),
        // Such as width before height: read in another order, the picture would be scored transposed.
        _ => None,
    }
}

/// Whether a permutation of a tensor's dimensions leaves them where they are.
fn is_identity(metadata: &serde_json::Value) -> bool {
    let Some(permutation) = metadata.get("permutation").and_then(serde_json::Value::as_array) else { return true };
    (0u64..).zip(permutation).all(|(at, dimension)| dimension.as_u64() == Some(at))
}

/// Number of list levels around `u8`, for example 3 for `list<list<list<u8>>>`; `None` for other types.
pub(super) fn nesting(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            if item.data_type() == &DataType::UInt8 {
                Some(1)
            } else {
                nesting(item.data_type()).map(|levels| levels + 1)
            }
        }
        _ => None,
    }
}

/// Lists of `u8`, one image a row. The values of a row lie side by side whatever the nesting, so they are borrowed.
#[derive(Debug, Clone)]
pub(super) struct NestedLists {
    /// From the outermost list inwards.
    levels: Vec<ArrayRef>,
    values: UInt8Array,
}

impl NestedLists {
    /// Takes an array for whose type [`nesting`] gives a number.
    pub(super) fn try_new(array: &ArrayRef) -> Result<Self> {
        let mut levels = Vec::new();
        let mut current = array.clone();
        loop {
            let inner = match current.data_type() {
                DataType::List(_) => current.as_list::<i32>().values().clone(),
                DataType::LargeList(_) => current.as_list::<i64>().values().clone(),
                DataType::FixedSizeList(_, _) => current.as_fixed_size_list().values().clone(),
                DataType::UInt8 => {
                    return Ok(Self { levels, values: current.as_primitive::<UInt8Type>().clone() });
                }
                other => return Err(Error::Internal(format!("{other} is no list of u8"))),
            };
            levels.push(current);
            current = inner;
        }
    }

    /// Values of a row and the length of each level.
    ///
    /// # Errors
    /// `null_image` for a null row, `empty_image` for a row without values, `wrong_shape` for lists of different
    /// lengths at one level or nulls inside.
    pub(super) fn get(&self, row: usize) -> Result<(&[u8], Vec<u32>), RowError> {
        let wrong = |why: String| RowError::new(RowErrorCode::WrongShape, why);
        let mut range = row..row.saturating_add(1);
        let mut sizes = Vec::with_capacity(self.levels.len());
        for (depth, level) in self.levels.iter().enumerate() {
            if depth == 0 && (row >= level.len() || level.is_null(row)) {
                return Err(RowError::new(RowErrorCode::NullImage, ""));
            }
            let Some((inner, length)) = descend(level, &range) else {
                return Err(wrong(format!("lists of level {} are null or differ in length", depth + 1)));
            };
            if length == 0 {
                return Err(RowError::new(RowErrorCode::EmptyImage, ""));
            }
            sizes.push(u32::try_from(length).map_err(|_| wrong(format!("a list of {length} items")))?);
            range = inner;
        }
        if self.values.null_count() > 0 && range.clone().any(|index| self.values.is_null(index)) {
            return Err(wrong("null values inside".into()));
        }
        let values = self.values.values().get(range).ok_or_else(|| wrong("values are missing".into()))?;
        Ok((values, sizes))
    }
}

/// Range in the next level, and the one length that all lists in `range` have; `None` when they differ or one is null.
fn descend(level: &ArrayRef, range: &Range<usize>) -> Option<(Range<usize>, usize)> {
    if level.null_count() > 0 && range.clone().any(|index| level.is_null(index)) {
        return None;
    }
    match level.data_type() {
        DataType::List(_) => by_offsets(level.as_list::<i32>().value_offsets(), range),
        DataType::LargeList(_) => by_offsets(level.as_list::<i64>().value_offsets(), range),
        DataType::FixedSizeList(_, _) => {
            let length = usize::try_from(level.as_fixed_size_list().value_length()).ok()?;
            Some((range.start * length..range.end * length, length))
        }
        _ => None,
    }
}

fn by_offsets<O: arrow::array::OffsetSizeTrait>(offsets: &[O], range: &Range<usize>) -> Option<(Range<usize>, usize)> {
    let offsets = offsets.get(range.start..=range.end)?;
    let (first, last) = (offsets.first()?.as_usize(), offsets.last()?.as_usize());
    let mut lengths = offsets.windows(2).map(|pair| pair[1].as_usize().saturating_sub(pair[0].as_usize()));
    let length = lengths.next()?;
    lengths.all(|other| other == length).then_some((first..last, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_become_shapes() {
        let shape = |height, width, channels, layout| Some(Shape { height, width, channels, layout });
        assert_eq!(shape_of(&[32, 30, 3]), shape(32, 30, 3, Layout::Hwc));
        assert_eq!(shape_of(&[3, 32, 30]), shape(32, 30, 3, Layout::Chw));
        assert_eq!(shape_of(&[3, 5, 3]), shape(3, 5, 3, Layout::Hwc), "channels last wins");
        assert_eq!(shape_of(&[28, 27]), shape(28, 27, 1, Layout::Hwc));
        assert_eq!(shape_of(&[28, 28, 2]), None);
        assert_eq!(shape_of(&[28]), None);
    }

    #[test]
    fn tensor_metadata() {
        let field = |length, metadata: &str| {
            let item = Field::new("item", DataType::UInt8, false);
            Field::new("image", DataType::FixedSizeList(std::sync::Arc::new(item), length), true).with_metadata(
                [("ARROW:extension:name", TENSOR), ("ARROW:extension:metadata", metadata)]
                    .map(|(key, value)| (key.to_string(), value.to_string()))
                    .into(),
            )
        };
        let shape = |height, width, channels, layout| Some(Shape { height, width, channels, layout });
        assert_eq!(tensor_shape(&field(24, r#"{"shape":[2,4,3]}"#)), shape(2, 4, 3, Layout::Hwc));
        assert_eq!(
            tensor_shape(&field(36, r#"{"shape":[3,4,3],"dim_names":["C","H","W"]}"#)),
            shape(4, 3, 3, Layout::Chw)
        );
        assert_eq!(
            tensor_shape(&field(36, r#"{"shape":[3,4,3],"dim_names":["height","width","channels"]}"#)),
            shape(3, 4, 3, Layout::Hwc)
        );
        for (length, metadata) in [(23, r#"{"shape":[2,4,3]}"#), (24, "{}"), (24, "no json"), (24, r#"{"shape":[24]}"#)]
        {
            assert_eq!(tensor_shape(&field(length, metadata)), None, "{metadata}");
        }
    }
}
