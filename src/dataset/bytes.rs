//! Variable-length bytes and text in every Arrow form, behind one `get`.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray, StringArray,
    StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType};

use crate::{Error, Result};

/// A column of bytes or text.
#[derive(Debug, Clone)]
pub(super) enum BytesColumn {
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    BinaryView(BinaryViewArray),
    Utf8(StringArray),
    LargeUtf8(LargeStringArray),
    Utf8View(StringViewArray),
    /// Keys (null where the row is null) into values.
    Dictionary(arrow::array::UInt64Array, Box<Self>),
}

/// True for binary types, also behind a dictionary.
pub(super) fn is_binary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        DataType::Dictionary(_, values) => is_binary(values),
        _ => false,
    }
}

/// True for text types, also behind a dictionary.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

impl BytesColumn {
    /// Takes an array whose type is [`is_binary`] or [`is_text`]. The data are shared, dictionary keys are widened.
    pub(super) fn try_new(array: &ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Binary => Self::Binary(array.as_binary().clone()),
            DataType::LargeBinary => Self::LargeBinary(array.as_binary().clone()),
            DataType::BinaryView => Self::BinaryView(array.as_binary_view().clone()),
            DataType::Utf8 => Self::Utf8(array.as_string().clone()),
            DataType::LargeUtf8 => Self::LargeUtf8(array.as_string().clone()),
            DataType::Utf8View => Self::Utf8View(array.as_string_view().clone()),
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                let keys = cast(dictionary.keys(), &DataType::UInt64)
                    .map_err(|source| Error::Arrow { origin: "dictionary keys".into(), source })?;
                Self::Dictionary(keys.as_primitive().clone(), Box::new(Self::try_new(dictionary.values())?))
            }
            other => return Err(Error::Internal(format!("{other} holds neither bytes nor text"))),
        })
    }

    /// The bytes of a row; `None` when it is null or beyond the end.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        macro_rules! value {
            ($array:expr) => {
                // The length is checked first: `is_valid` and `value` panic beyond the end.
                (row < $array.len() && $array.is_valid(row)).then(|| $array.value(row).as_ref())
            };
        }
        match self {
            Self::Binary(array) => value!(array),
            Self::LargeBinary(array) => value!(array),
            Self::BinaryView(array) => value!(array),
            Self::Utf8(array) => value!(array),
            Self::LargeUtf8(array) => value!(array),
            Self::Utf8View(array) => value!(array),
            Self::Dictionary(keys, values) => {
                let key = (row < keys.len() && keys.is_valid(row)).then(|| keys.value(row))?;
                values.get(key.to_usize()?)
            }
        }
    }

    /// The text of a row; `None` when it is null or not UTF-8, which text columns always are.
    pub(super) fn text(&self, row: usize) -> Option<&str> {
        std::str::from_utf8(self.get(row)?).ok()
    }
}
