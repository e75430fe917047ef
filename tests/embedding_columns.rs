//! Embeddings in columns of every form.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Float64Array, LargeListArray, ListArray,
    RecordBatch,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use dismax::RowErrorCode;
use dismax::dataset::EmbeddingColumn;
use half::f16;

/// Four rows of two numbers; the second row is null.
fn forms() -> Vec<(&'static str, ArrayRef)> {
    let numbers = [1.0f32, 2.0, 0.0, 0.0, -3.5, 0.25, 8.0, f32::NAN];
    let single: ArrayRef = Arc::new(Float32Array::from(numbers.to_vec()));
    let double: ArrayRef = Arc::new(Float64Array::from_iter_values(numbers.map(f64::from)));
    let short: ArrayRef = Arc::new(Float16Array::from_iter_values(numbers.map(f16::from_f32)));
    let item = |values: &ArrayRef| Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let nulls = || Some(NullBuffer::from(vec![true, false, true, true]));
    let fixed = |values: &ArrayRef| -> ArrayRef {
        Arc::new(FixedSizeListArray::new(item(values), 2, Arc::clone(values), nulls()))
    };
    let list = ListArray::new(item(&single), OffsetBuffer::from_lengths([2; 4]), Arc::clone(&single), nulls());
    let large = LargeListArray::new(item(&double), OffsetBuffer::from_lengths([2; 4]), Arc::clone(&double), nulls());
    vec![
        ("fixed f32", fixed(&single)),
        ("fixed f64", fixed(&double)),
        ("fixed f16", fixed(&short)),
        ("list", Arc::new(list)),
        ("large list", Arc::new(large)),
    ]
}

fn column(array: &ArrayRef) -> (EmbeddingColumn, RecordBatch) {
    let record_batch = RecordBatch::try_from_iter([("clip", array.clone())]).expect("a record batch");
    (EmbeddingColumn::find(&record_batch.schema(), None).expect("the only column"), record_batch)
}

#[test]
fn every_form_gives_the_same_numbers_and_digests() {
    let mut digests = Vec::new();
    for (name, array) in forms() {
        let (column, record_batch) = column(&array);
        let embeddings = column.embeddings_in(&record_batch).expect("embeddings");
        let mut values = Vec::new();
        let outcomes = embeddings.read(0..4, 2, &mut values);
        let codes: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().err().map(|error| error.code)).collect();
        let expected = [None, Some(RowErrorCode::NullEmbedding), None, Some(RowErrorCode::NonFiniteEmbedding)];
        assert_eq!(codes, expected, "{name}");
        assert_eq!((&values[..2], &values[4..6]), (&[1.0, 2.0][..], &[-3.5, 0.25][..]), "{name}");
        digests.push((embeddings.digest(0, 2), embeddings.digest(2, 2)));

        let wrong = embeddings.read(0..1, 3, &mut values)[0].clone().expect_err(name);
        assert_eq!(wrong.to_string(), "wrong_length: 2 numbers instead of 3");

        // A slice begins elsewhere.
        let (column, sliced) = self::column(&array.slice(2, 1));
        let embeddings = column.embeddings_in(&sliced).expect("embeddings");
        assert!(embeddings.read(0..1, 2, &mut values)[0].is_ok());
        assert_eq!(values, [-3.5, 0.25], "{name}");
    }
    assert!(digests.iter().all(|pair| *pair == digests[0] && pair.0 != pair.1));
}

#[test]
fn a_null_number_and_lists_of_two_lengths_are_errors_of_their_rows() {
    let lists = ListArray::from_iter_primitive::<arrow::datatypes::Float32Type, _, _>([
        Some(vec![Some(1.0), None]),
        Some(vec![Some(1.0), Some(2.0), Some(3.0)]),
        Some(vec![Some(1.0), Some(2.0)]),
    ]);
    let (column, record_batch) = column(&(Arc::new(lists) as ArrayRef));
    let embeddings = column.embeddings_in(&record_batch).expect("embeddings");
    assert_eq!(embeddings.first_length(), Some(2));
    let mut values = Vec::new();
    let errors: Vec<_> =
        embeddings.read(0..3, 2, &mut values).into_iter().map(|row| row.err().map(|e| e.to_string())).collect();
    let expected = ["non_finite_embedding: a number is null", "wrong_length: 3 numbers instead of 2"];
    assert_eq!(errors, [Some(expected[0].to_owned()), Some(expected[1].to_owned()), None]);
}

#[test]
fn columns_that_cannot_be_told_or_used_are_named() {
    let list = |name: &str| Field::new(name, DataType::new_list(DataType::Float32, true), true);
    let find = |fields: Vec<Field>, wanted: Option<&str>| {
        EmbeddingColumn::find(&Schema::new(fields), wanted).map_err(|error| error.to_string())
    };
    let text = Field::new("text", DataType::Utf8, true);
    assert_eq!(find(vec![text.clone(), list("clip")], None).expect("one").name(), "clip");
    let several = find(vec![list("clip"), list("dino")], None).expect_err("two");
    assert!(several.contains("\"clip\"") && several.contains("\"dino\""), "{several}");
    assert_eq!(find(vec![list("clip"), list("dino")], Some("dino")).expect("named").index(), 1);
    let none = find(vec![text.clone()], None).expect_err("none");
    assert!(none.contains("no column fits") && none.contains("\"text\""), "{none}");
    let wrong = find(vec![text], Some("text")).expect_err("text");
    assert!(wrong.contains("\"text\" is Utf8"), "{wrong}");
    let numbers = Field::new("n", DataType::new_list(DataType::Int32, true), true);
    assert!(EmbeddingColumn::from_field(&numbers).is_err());
}
