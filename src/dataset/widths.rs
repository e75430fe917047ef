//! Types of one column in several files: writers choose widths freely, and values go into a wider type without loss.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// The narrowest type that holds every value of both, if there is one: the wider of two integers, of two floats, of two
/// times; text and bytes with longer offsets; a dictionary's values; lists and structs of such. Where the two are the
/// same but for names of items and metadata, the first.
pub(super) fn common(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Decimal128, Dictionary, FixedSizeList, LargeBinary, LargeList, LargeUtf8,
        List, Map, Null, Struct, Timestamp, Utf8, Utf8View,
    };
    if one == other {
        return Some(one.clone());
    }
    if let (Some(one), Some(other)) = (Number::of(one), Number::of(other)) {
        return one.common(other);
    }
    Some(match (one, other) {
        (Null, known) | (known, Null) => known.clone(),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => LargeUtf8,
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => LargeBinary,
        (Date32 | Date64, Date32 | Date64) => Date64,
        (Decimal128(one, scale), Decimal128(other, same)) if scale == same => Decimal128(*one.max(other), *scale),
        (Timestamp(one, zone), Timestamp(other, same)) if zone == same => Timestamp(finer(*one, *other), zone.clone()),
        (Dictionary(one, values), Dictionary(other, same)) if values == same => {
            Dictionary(Box::new(common(one, other)?), values.clone())
        }
        (Dictionary(_, values), plain) | (plain, Dictionary(_, values)) => common(values, plain)?,
        (List(one), List(other)) => List(common_field(one, other)?),
        (List(one) | LargeList(one), List(other) | LargeList(other)) => LargeList(common_field(one, other)?),
        (FixedSizeList(one, length), FixedSizeList(other, same)) if length == same => {
            FixedSizeList(common_field(one, other)?, *length)
        }
        (Map(one, sorted), Map(other, same)) if sorted == same => Map(common_field(one, other)?, *sorted),
        (Struct(one), Struct(other)) if names(one).eq(names(other)) => {
            let fields: Option<Fields> = one.iter().zip(other).map(|(one, other)| common_field(one, other)).collect();
            Struct(fields?)
        }
        _ => return None,
    })
}

/// `one` with the common type, nullable where one of the two is.
pub(super) fn common_field(one: &Arc<Field>, other: &Arc<Field>) -> Option<Arc<Field>> {
    let data_type = common(one.data_type(), other.data_type())?;
    let nullable = one.is_nullable() || other.is_nullable();
    Some(Arc::new(one.as_ref().clone().with_data_type(data_type).with_nullable(nullable)))
}

fn names(fields: &Fields) -> impl Iterator<Item = &String> {
    fields.iter().map(|field| field.name())
}

fn finer(one: TimeUnit, other: TimeUnit) -> TimeUnit {
    let order = [TimeUnit::Nanosecond, TimeUnit::Microsecond, TimeUnit::Millisecond, TimeUnit::Second];
    order.into_iter().find(|unit| [one, other].contains(unit)).unwrap_or(one)
}

/// A number's kind and bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Signed(u8),
    Unsigned(u8),
    Float(u8),
}

impl Number {
    fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Int8 => Self::Signed(8),
            DataType::Int16 => Self::Signed(16),
            DataType::Int32 => Self::Signed(32),
            DataType::Int64 => Self::Signed(64),
            DataType::UInt8 => Self::Unsigned(8),
            DataType::UInt16 => Self::Unsigned(16),
            DataType::UInt32 => Self::Unsigned(32),
            DataType::UInt64 => Self::Unsigned(64),
            DataType::Float16 => Self::Float(16),
            DataType::Float32 => Self::Float(32),
            DataType::Float64 => Self::Float(64),
            _ => return None,
        })
    }

    /// A column of class numbers is no column of measurements: integers and floats do not mix.
    fn common(self, other: Self) -> Option<DataType> {
        match (self, other) {
            (Self::Signed(one), Self::Signed(other)) => Self::Signed(one.max(other)).data_type(),
            (Self::Unsigned(one), Self::Unsigned(other)) => Self::Unsigned(one.max(other)).data_type(),
            (Self::Float(one), Self::Float(other)) => Self::Float(one.max(other)).data_type(),
            (Self::Signed(signed), Self::Unsigned(unsigned)) | (Self::Unsigned(unsigned), Self::Signed(signed)) => {
                Self::Signed(signed.max(unsigned.checked_mul(2)?)).data_type()
            }
            _ => None,
        }
    }

    fn data_type(self) -> Option<DataType> {
        Some(match self {
            Self::Signed(8) => DataType::Int8,
            Self::Signed(16) => DataType::Int16,
            Self::Signed(32) => DataType::Int32,
            Self::Signed(64) => DataType::Int64,
            Self::Unsigned(8) => DataType::UInt8,
            Self::Unsigned(16) => DataType::UInt16,
            Self::Unsigned(32) => DataType::UInt32,
            Self::Unsigned(64) => DataType::UInt64,
            Self::Float(16) => DataType::Float16,
            Self::Float(32) => DataType::Float32,
            Self::Float(64) => DataType::Float64,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_meet_and_kinds_do_not() {
        use DataType::*;
        let dictionary = |key: DataType| Dictionary(Box::new(key), Box::new(Utf8));
        let list = |item: DataType| Arc::new(Field::new("item", item, true));
        for (one, other, wanted) in [
            (Int32, Int64, Some(Int64)),
            (UInt8, Int8, Some(Int16)),
            (UInt64, Int64, None),
            (UInt32, UInt64, Some(UInt64)),
            (Float32, Float64, Some(Float64)),
            (Int64, Float64, None),
            (Int64, Utf8, None),
            (Null, Utf8, Some(Utf8)),
            (Utf8, Utf8View, Some(LargeUtf8)),
            (Binary, LargeBinary, Some(LargeBinary)),
            (Binary, Utf8, None),
            (dictionary(Int8), dictionary(Int32), Some(dictionary(Int32))),
            (dictionary(Int8), LargeUtf8, Some(LargeUtf8)),
            (
                Timestamp(TimeUnit::Second, None),
                Timestamp(TimeUnit::Microsecond, None),
                Some(Timestamp(TimeUnit::Microsecond, None)),
            ),
            (Timestamp(TimeUnit::Second, None), Timestamp(TimeUnit::Second, Some("UTC".into())), None),
            (List(list(Int8)), LargeList(list(Int16)), Some(LargeList(list(Int16)))),
            (FixedSizeList(list(Int8), 2), FixedSizeList(list(Int8), 3), None),
        ] {
            assert_eq!(common(&one, &other), wanted, "{one} and {other}");
            let turned = common(&other, &one);
            assert_eq!(turned, wanted, "{other} and {one}");
        }
    }
}
