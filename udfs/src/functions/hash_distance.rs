//! `dismax_hash_distance(a, b)`: in how many bits two perceptual hashes differ.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::documentation::IMAGES;

const NAME: &str = "dismax_hash_distance";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        IMAGES,
        "Returns in how many bits two perceptual hashes differ: 0 for equal pictures, about 60 for unrelated ones; up to 10 \
         are seldom different pictures.",
        format!("{NAME}(a, b)"),
    )
    .with_argument("a", "A perceptual hash, as dismax_image_info gives it.")
    .with_argument("b", "Another one.")
    .with_sql_example(format!(
        "WITH h AS (SELECT id, dismax_image_info(img)['perceptual_hash'] AS hash FROM 'photos.parquet') \
         SELECT a.id, b.id FROM h a JOIN h b ON a.id < b.id AND {NAME}(a.hash, b.hash) <= 10;"
    ))
    .with_related_udf("dismax_image_info")
    .build()
});

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HashDistance {
    signature: Signature,
}

impl HashDistance {
    pub fn new() -> Self {
        // The first decides; the other is what `SHOW FUNCTIONS` lists.
        let listed = TypeSignature::Exact(vec![DataType::Binary, DataType::Binary]);
        Self { signature: Signature::one_of(vec![TypeSignature::UserDefined, listed], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HashDistance {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Hashes of one width stay as they are; other forms become plain binary.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        // Whatever is no hash is refused by `return_field_from_args`, whose words reach the user.
        match arguments {
            [a @ DataType::FixedSizeBinary(_), b] if a == b => Ok(arguments.to_vec()),
            _ if arguments.iter().all(is_hash) => Ok(vec![DataType::Binary; arguments.len()]),
            _ => Ok(arguments.to_vec()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let hashes = arguments.arg_fields;
        if hashes.len() != 2 {
            return plan_err!("{NAME} takes two hashes, not {} arguments", hashes.len());
        }
        if let Some(position) = hashes.iter().position(|field| !is_hash(field.data_type())) {
            return plan_err!(
                "{NAME}: argument {} is {}, expected a hash (FixedSizeBinary or Binary) such as \
                 dismax_image_info(image)['perceptual_hash']",
                position + 1,
                hashes[position].data_type()
            );
        }
        Ok(Arc::new(Field::new(NAME, DataType::Int64, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [a, b] = arguments.args.as_slice() else { return exec_err!("{NAME} takes two hashes") };
        match (a, b) {
            (ColumnarValue::Scalar(a), ColumnarValue::Scalar(b)) => {
                let distance = distances(&Hashes::one(a)?, &Hashes::one(b)?, 1)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&distance, 0)?))
            }
            _ => {
                let distances = distances(&Hashes::of(a)?, &Hashes::of(b)?, arguments.number_rows)?;
                Ok(ColumnarValue::Array(Arc::new(distances)))
            }
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

fn is_hash(data_type: &DataType) -> bool {
    data_type.is_binary() || matches!(data_type, DataType::FixedSizeBinary(_) | DataType::Null)
}

/// One side: a hash for each row, or one for all.
struct Hashes {
    values: ArrayRef,
    is_one: bool,
}

impl Hashes {
    fn of(argument: &ColumnarValue) -> Result<Self> {
        match argument {
            ColumnarValue::Array(values) => Ok(Self { values: Arc::clone(values), is_one: false }),
            ColumnarValue::Scalar(value) => Self::one(value),
        }
    }

    fn one(value: &ScalarValue) -> Result<Self> {
        Ok(Self { values: value.to_array()?, is_one: true })
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        let row = if self.is_one { 0 } else { row };
        if self.values.is_null(row) {
            return None;
        }
        match self.values.as_fixed_size_binary_opt() {
            Some(values) => Some(values.value(row)),
            None => self.values.as_binary_opt::<i32>().map(|values| values.value(row)),
        }
    }
}

fn distances(a: &Hashes, b: &Hashes, rows: usize) -> Result<Int64Array> {
    let distance = |row: usize| match (a.get(row), b.get(row)) {
        (Some(a), Some(b)) if a.len() == b.len() => Ok(Some(bits_apart(a, b))),
        (Some(a), Some(b)) => {
            Err(exec_datafusion_err!("{NAME}: a hash of {} bytes cannot be compared with one of {}", a.len(), b.len()))
        }
        _ => Ok(None),
    };
    (0..rows).map(distance).collect()
}

/// A perceptual hash is one number of 128 bits.
fn bits_apart(a: &[u8], b: &[u8]) -> i64 {
    if let (Ok(a), Ok(b)) = (a.try_into(), b.try_into()) {
        return i64::from((u128::from_ne_bytes(a) ^ u128::from_ne_bytes(b)).count_ones());
    }
    a.iter().zip(b).map(|(a, b)| i64::from((a ^ b).count_ones())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_whatever_the_width() {
        assert_eq!(bits_apart(&[0; 16], &[0xFF; 16]), 128);
        assert_eq!(bits_apart(&[1; 16], &[3; 16]), 16);
        assert_eq!((bits_apart(&[0b101], &[0b010]), bits_apart(&[], &[])), (3, 0));
    }
}
