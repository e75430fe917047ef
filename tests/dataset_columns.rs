//! Finding image and label columns, and every Arrow form of an image with nulls and as a slice.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanBufferBuilder, DictionaryArray, FixedSizeListArray,
    Float32Array, Int8Array, Int32Array, Int64Array, LargeBinaryArray, LargeListArray, ListArray, RecordBatch,
    StringArray, StructArray, UInt8Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use dismax::RowErrorCode;
use dismax::dataset::{Chunk, Image, ImageColumn, LabelColumn, LabelKind, Labels, LoadOptions};
use dismax::image::Layout;

fn batch(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns fit")
}

fn column(name: &str, array: ArrayRef) -> (Field, ArrayRef) {
    (Field::new(name, array.data_type().clone(), true), array)
}

fn huggingface_struct(bytes: ArrayRef, paths: ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("bytes", bytes.data_type().clone(), true),
        Field::new("path", paths.data_type().clone(), true),
    ]);
    Arc::new(StructArray::new(fields, vec![bytes, paths], nulls))
}

/// Encoded images "one", null, "", "four" in each form: a row before them is sliced away.
fn encoded_forms() -> Vec<(&'static str, ArrayRef)> {
    let values: Vec<Option<&[u8]>> = vec![Some(b"before"), Some(b"one"), None, Some(b""), Some(b"four"), Some(b"x")];
    let keys = Int32Array::from(vec![Some(2), Some(1), None, Some(0), Some(3), Some(2)]);
    let entries: ArrayRef = Arc::new(BinaryArray::from(vec![&b""[..], b"one", b"before", b"four"]));
    let no_paths: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; 6]));
    let forms: Vec<(&'static str, ArrayRef)> = vec![
        ("binary", Arc::new(BinaryArray::from(values.clone()))),
        ("large_binary", Arc::new(LargeBinaryArray::from(values.clone()))),
        ("binary_view", Arc::new(BinaryViewArray::from(values.clone()))),
        ("dictionary", Arc::new(DictionaryArray::<Int32Type>::new(keys, entries))),
        ("struct", huggingface_struct(Arc::new(BinaryArray::from(values.clone())), no_paths.clone(), None)),
        ("struct of large", huggingface_struct(Arc::new(LargeBinaryArray::from(values)), no_paths, None)),
    ];
    forms.into_iter().map(|(name, array)| (name, array.slice(1, 4))).collect()
}

#[test]
fn encoded_images_in_every_form() {
    for (name, array) in encoded_forms() {
        let batch = batch(vec![column("picture", array)]);
        let found = ImageColumn::find(batch.schema_ref(), None).expect(name);
        assert_eq!((found.name(), found.index()), ("picture", 0));
        let images = found.images_in(&batch).expect(name);
        assert_eq!(images.get(0), Ok(Image::Encoded(b"one")), "{name}");
        assert_eq!(images.get(1).expect_err(name).code, RowErrorCode::NullImage, "{name}");
        assert_eq!(images.get(2).expect_err(name).code, RowErrorCode::EmptyImage, "{name}");
        assert_eq!(images.get(3), Ok(Image::Encoded(b"four")), "{name}");
        assert_eq!(images.get(4).expect_err("beyond the slice").code, RowErrorCode::NullImage, "{name}");
    }
}

#[test]
fn struct_with_paths_and_null_rows() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"one"[..]), None, None, Some(b"hidden")]));
    let paths: ArrayRef = Arc::new(StringArray::from(vec![Some("1.png"), Some("2.png"), None, Some("4.png")]));
    let array = huggingface_struct(bytes, paths, Some(NullBuffer::from(vec![true, true, true, false])));
    let batch = batch(vec![column("image", array)]);
    let images = ImageColumn::find(batch.schema_ref(), None).unwrap().images_in(&batch).unwrap();
    assert_eq!(images.get(0), Ok(Image::Encoded(b"one")), "bytes come before the path");
    assert_eq!(images.get(1), Ok(Image::Path("2.png")));
    assert_eq!(images.get(2).unwrap_err().code, RowErrorCode::NullImage);
    assert_eq!(images.get(3).unwrap_err().code, RowErrorCode::NullImage, "a null struct hides what it holds");
}

#[test]
fn dictionary_without_entries() {
    let keys = Int32Array::from(vec![None, None]);
    let array: ArrayRef =
        Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(BinaryArray::from(Vec::<&[u8]>::new()))));
    let batch = batch(vec![column("image", array)]);
    let images = ImageColumn::find(batch.schema_ref(), None).unwrap().images_in(&batch).unwrap();
    assert_eq!(images.get(0).unwrap_err().code, RowErrorCode::NullImage);
}

fn item(data_type: &DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type.clone(), true))
}

fn lists(values: ArrayRef, lengths: &[usize], nulls: Option<NullBuffer>) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(ListArray::new(item(values.data_type()), offsets, values, nulls))
}

fn nulls(valid: &[bool]) -> Option<NullBuffer> {
    let mut bits = BooleanBufferBuilder::new(valid.len());
    bits.append_slice(valid);
    Some(NullBuffer::new(bits.finish()))
}

fn bytes(range: std::ops::Range<u8>) -> ArrayRef {
    Arc::new(UInt8Array::from_iter_values(range))
}

#[test]
fn fixed_shape_tensors() {
    let tensor = |metadata: &str, array: ArrayRef| {
        let extension = [("ARROW:extension:name", "arrow.fixed_shape_tensor"), ("ARROW:extension:metadata", metadata)];
        let extension: HashMap<String, String> =
            extension.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        (Field::new("pixels", array.data_type().clone(), true).with_metadata(extension), array)
    };
    let values = bytes(0..48);
    let array: ArrayRef =
        Arc::new(FixedSizeListArray::new(item(&DataType::UInt8), 12, values, nulls(&[true, true, false, true])));
    // A slice, so that rows do not begin at the values' start.
    let array = array.slice(1, 3);
    for (metadata, height, width, layout) in [
        (r#"{"shape":[2,2,3]}"#, 2, 2, Layout::Hwc),
        (r#"{"shape":[3,1,4],"dim_names":["C","H","W"]}"#, 1, 4, Layout::Chw),
    ] {
        let batch = batch(vec![tensor(metadata, array.clone())]);
        let images = ImageColumn::find(batch.schema_ref(), None).unwrap().images_in(&batch).unwrap();
        let values: Vec<u8> = (12..24).collect();
        assert_eq!(images.get(0), Ok(Image::Raw { values: &values, height, width, channels: 3, layout }));
        assert_eq!(images.get(1).unwrap_err().code, RowErrorCode::NullImage);
        let values: Vec<u8> = (36..48).collect();
        assert_eq!(images.get(2), Ok(Image::Raw { values: &values, height, width, channels: 3, layout }));
    }
    // A list of numbers without a shape is no image.
    let batch = batch(vec![column("embedding", array)]);
    assert!(ImageColumn::find(batch.schema_ref(), None).is_err());
}

#[test]
fn nested_lists_of_any_size() {
    // Row 0: 1 x 2 x 3, row 1: null, row 2: 2 x 1 x 3, row 3: rows of unequal length, row 4: without rows.
    let pixels = lists(bytes(0..24), &[3; 8], None);
    let rows = lists(pixels, &[2, 1, 1, 1, 3], None);
    let images = lists(rows, &[1, 0, 2, 2, 0], nulls(&[true, false, true, true, true]));
    for (skip, array) in [(0, images.clone()), (2, images.slice(2, 3))] {
        let batch = batch(vec![column("img", array)]);
        let images = ImageColumn::find(batch.schema_ref(), None).unwrap().images_in(&batch).unwrap();
        let get = |row: usize| images.get(row - skip);
        if skip == 0 {
            let expected =
                Image::Raw { values: &[0, 1, 2, 3, 4, 5], height: 1, width: 2, channels: 3, layout: Layout::Hwc };
            assert_eq!(get(0), Ok(expected));
            assert_eq!(get(1).unwrap_err().code, RowErrorCode::NullImage);
        }
        let expected =
            Image::Raw { values: &[6, 7, 8, 9, 10, 11], height: 2, width: 1, channels: 3, layout: Layout::Hwc };
        assert_eq!(get(2), Ok(expected));
        assert_eq!(get(3).unwrap_err().code, RowErrorCode::WrongShape);
        assert_eq!(get(4).unwrap_err().code, RowErrorCode::EmptyImage);
    }
}

#[test]
fn nested_lists_that_are_no_image() {
    let with_null: ArrayRef = Arc::new(UInt8Array::from(vec![Some(1), None, Some(3), Some(4), Some(5), Some(6)]));
    let null_inside = lists(lists(with_null, &[3, 3], None), &[2], None);
    let no_channels = lists(lists(lists(bytes(0..10), &[5, 5], None), &[1, 1], None), &[2], None);
    let null_row = lists(lists(bytes(0..6), &[3, 3], nulls(&[true, false])), &[2], None);
    for array in [null_inside, no_channels, null_row] {
        let batch = batch(vec![column("img", array)]);
        let images = ImageColumn::find(batch.schema_ref(), None).unwrap().images_in(&batch).unwrap();
        assert_eq!(images.get(0).unwrap_err().code, RowErrorCode::WrongShape);
    }
}

#[test]
fn grey_and_channels_first_in_mixed_list_types() {
    let rows: ArrayRef = Arc::new(FixedSizeListArray::new(item(&DataType::UInt8), 4, bytes(0..24), None));
    let grey: ArrayRef = Arc::new(LargeListArray::new(
        item(rows.data_type()),
        OffsetBuffer::from_lengths([2usize, 4]),
        rows.clone(),
        None,
    ));
    let batch_grey = batch(vec![column("img", grey)]);
    let images = ImageColumn::find(batch_grey.schema_ref(), None).unwrap().images_in(&batch_grey).unwrap();
    let values: Vec<u8> = (8..24).collect();
    let expected = Image::Raw { values: &values, height: 4, width: 4, channels: 1, layout: Layout::Hwc };
    assert_eq!(images.get(1), Ok(expected));
    let pixels = LoadOptions::default().load(&images, 1).unwrap();
    assert_eq!(pixels.data[..6], [8, 8, 8, 9, 9, 9]);

    let planes = lists(lists(bytes(0..30), &[5; 6], None), &[2, 2, 2], None);
    let batch = batch(vec![column("img", lists(planes, &[3], None))]);
    let images = ImageColumn::find(batch.schema_ref(), None).unwrap().images_in(&batch).unwrap();
    let image = images.get(0).unwrap();
    assert!(matches!(image, Image::Raw { height: 2, width: 5, channels: 3, layout: Layout::Chw, .. }), "{image:?}");
    let pixels = LoadOptions::default().load(&images, 0).unwrap();
    assert_eq!(pixels.data[..6], [0, 10, 20, 1, 11, 21]);
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect::<Vec<_>>())
}

#[test]
fn image_columns_that_cannot_be_told() {
    let find = |columns: &[(&str, DataType)], wanted| {
        ImageColumn::find(&schema(columns), wanted).expect_err("cannot be told").to_string()
    };
    let none = find(&[("text", DataType::Utf8), ("label", DataType::Int64)], None);
    assert!(none.contains(r#""text" (Utf8), "label" (Int64)"#), "{none}");
    let two = find(&[("a", DataType::Binary), ("label", DataType::Int64), ("mask", DataType::LargeBinary)], None);
    assert!(two.contains(r#"several columns fit: "a" (Binary), "mask" (LargeBinary); name one of them"#), "{two}");
    let missing = find(&[("a", DataType::Binary)], Some("b"));
    assert!(missing.contains(r#"no column "b""#) && missing.contains(r#""a" (Binary)"#), "{missing}");
    let unfit = find(&[("a", DataType::Binary), ("label", DataType::Int64)], Some("label"));
    assert!(unfit.contains(r#""label" is Int64"#), "{unfit}");
    let many: Vec<(String, DataType)> = (0..40).map(|index| (format!("c{index}"), DataType::Int8)).collect();
    let many: Vec<(&str, DataType)> = many.iter().map(|(name, data_type)| (name.as_str(), data_type.clone())).collect();
    assert!(find(&many, None).contains("and 10 more"));
}

#[test]
fn a_named_column_of_paths_is_read_on_request_only() {
    let folder = tempfile::tempdir().unwrap();
    let image = image::RgbImage::from_pixel(2, 1, image::Rgb([9, 8, 7]));
    image.save(folder.path().join("a.png")).unwrap();
    let paths: ArrayRef = Arc::new(StringArray::from(vec![
        Some("a.png"),
        Some("b.png"),
        None,
        Some(""),
        Some("."),
        Some("https://example.org/a.png"),
    ]));
    let batch = batch(vec![column("file", paths)]);
    assert!(ImageColumn::find(batch.schema_ref(), None).is_err(), "text is not taken for paths unasked");
    let found = ImageColumn::find(batch.schema_ref(), Some("file")).unwrap();
    let file = folder.path().join("rows.parquet").display().to_string().into();
    let images = found.images(&Chunk { record_batch: batch, file, source: 0, first_row: 0 }).unwrap();
    let read = |row: usize, read_paths| {
        let options = LoadOptions { read_paths, ..LoadOptions::default() };
        options.load(&images, row)
    };
    assert_eq!(read(0, true).unwrap().data, [9, 8, 7, 9, 8, 7]);
    assert_eq!(read(0, false).unwrap_err().code, RowErrorCode::FileNotReadable);
    assert_eq!(read(1, true).unwrap_err().code, RowErrorCode::FileNotReadable);
    assert_eq!(read(2, true).unwrap_err().code, RowErrorCode::NullImage);
    assert_eq!(read(3, true).unwrap_err().code, RowErrorCode::EmptyImage);
    assert_eq!(read(4, true).unwrap_err().code, RowErrorCode::FileNotReadable, "a folder");
    assert!(read(5, true).unwrap_err().to_string().contains("not fetched"));
}

#[test]
fn label_columns_of_every_type() {
    let numbers: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(2), None, Some(0)])),
        Arc::new(Int8Array::from(vec![Some(2), None, Some(0)])),
        Arc::new(UInt64Array::from(vec![Some(2), None, Some(0)])),
    ];
    for array in numbers {
        let batch = batch(vec![column("Label", array)]);
        let found = LabelColumn::find(batch.schema_ref(), None).unwrap();
        assert_eq!((found.name(), found.kind()), ("Label", LabelKind::Index));
        assert_eq!(found.labels(&batch).unwrap(), Labels::Indices(vec![Some(2), None, Some(0)]));
    }
    let texts = StringArray::from(vec![Some("dog"), None, Some("cat")]);
    let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
    let dictionary = DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(vec!["cat", "dog"])));
    let names: Vec<ArrayRef> = vec![Arc::new(texts), Arc::new(dictionary)];
    for array in names {
        let batch = batch(vec![column("class", array)]);
        let found = LabelColumn::find(batch.schema_ref(), None).unwrap();
        let labels = found.labels(&batch).unwrap();
        assert_eq!(labels, Labels::Names(vec![Some("dog".into()), None, Some("cat".into())]));
        let classes = ["cat".to_string(), "dog".to_string()];
        assert_eq!(labels.to_classes(&classes, "a.parquet", 0).unwrap(), [Some(1), None, Some(0)]);
    }
    let too_large = batch(vec![column("label", Arc::new(UInt64Array::from(vec![u64::MAX])))]);
    let error = LabelColumn::find(too_large.schema_ref(), None).unwrap().labels(&too_large).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
}

#[test]
fn labels_outside_the_classes_name_their_row() {
    let classes = ["cat".to_string(), "dog".to_string()];
    let refused = |labels: Labels| labels.to_classes(&classes, "a.parquet", 100).unwrap_err().to_string();
    let error = refused(Labels::Indices(vec![Some(0), Some(2)]));
    let way_out = "; correct the label, or make it null to leave the row out";
    assert_eq!(error, format!("a.parquet, row 101: label 2 is outside the classes 0 to 1{way_out}"));
    assert!(refused(Labels::Indices(vec![Some(-1)])).contains("row 100: label -1"));
    let error = refused(Labels::Names(vec![Some("cow".into())]));
    assert_eq!(error, format!("a.parquet, row 100: label \"cow\" is not among the classes{way_out}"));
}

#[test]
fn label_columns_that_cannot_be_told() {
    let find = |columns: &[(&str, DataType)], wanted| {
        LabelColumn::find(&schema(columns), wanted).expect_err("cannot be told").to_string()
    };
    let two = find(&[("label", DataType::Int64), ("target", DataType::Utf8)], None);
    assert!(two.contains(r#"several columns fit: "label" (Int64), "target" (Utf8); name one of them"#), "{two}");
    let none = find(&[("img", DataType::Binary), ("y", DataType::Int64)], None);
    assert!(none.contains(r#""y" (Int64)"#), "{none}");
    let date = find(&[("label", DataType::Date32)], None);
    assert!(date.contains(r#""label" is Date32; labels are whole numbers"#), "{date}");
    let date = find(&[("score", DataType::Date64)], Some("score"));
    assert!(date.contains(r#""score" is Date64"#), "{date}");
    assert!(find(&[("score", DataType::Date64)], Some("y")).contains(r#"no column "y""#));
    // A column that fits is taken even where another of a telling name does not fit.
    let schema = schema(&[("label", DataType::Int32), ("labels", DataType::new_list(DataType::Int32, true))]);
    assert_eq!(LabelColumn::find(&schema, None).unwrap().name(), "label");
}

#[test]
fn class_names_from_hugging_face() {
    let metadata = r#"{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#;
    let schema =
        schema(&[("label", DataType::Int64)]).with_metadata([("huggingface".to_string(), metadata.to_string())].into());
    let found = LabelColumn::find(&schema, None).unwrap();
    assert_eq!(found.class_names(), Some(&["cat".to_string(), "dog".to_string()][..]));
}

#[test]
fn a_changed_type_is_an_error_not_a_panic() {
    let binary = batch(vec![column("x", Arc::new(BinaryArray::from(vec![&b"a"[..]])))]);
    let float = batch(vec![column("x", Arc::new(Float32Array::from(vec![1.0])))]);
    let other = batch(vec![column("y", Arc::new(Float32Array::from(vec![1.0])))]);
    let image = ImageColumn::find(binary.schema_ref(), None).unwrap();
    assert!(image.images_in(&float).is_err() && image.images_in(&other).is_err());
    let label = LabelColumn::find(&schema(&[("x", DataType::Int64)]), Some("x")).unwrap();
    assert!(label.labels(&binary).is_err() && label.labels(&other).is_err());
}

#[test]
fn lists_of_images_say_the_way_out() {
    let item = Arc::new(Field::new("item", DataType::Binary, true));
    let schema = Schema::new(vec![Field::new("views", DataType::List(item), true)]);
    let message = ImageColumn::find(&schema, None).unwrap_err().to_string();
    assert!(message.contains("\"views\"") && message.contains("unnest(\"views\") AS image"), "{message}");
}
