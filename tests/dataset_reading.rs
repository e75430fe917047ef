//! Reading datasets: formats, order, sizes of pieces, damaged files.

mod common;

use std::fs;
use std::io::{self};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use common::datasets::{chunks, folder, labels, open, rows, schema, write};
use dismax::Error;
use dismax::cancel::Cancel;
use dismax::dataset::{Chunk, Compression, Dataset, WriteOptions};

#[test]
fn every_format_gives_rows_and_metadata_back() {
    let folder = folder();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        for name in ["a.parquet", "a.arrow", "a.feather", "a.arrows"] {
            let path = folder.path().join(name);
            let options = WriteOptions { compression, overwrite: true, ..WriteOptions::default() };
            write(&path, &[rows(0..10), rows(10..10), rows(10..33)], &options);
            let dataset = open(&path).expect(name);
            assert_eq!(dataset.schema(), &schema(), "{name}");
            assert_eq!(dataset.rows(), name.ends_with("parquet").then_some(33));
            let read = chunks(&dataset, 8, None);
            let batches: Vec<&RecordBatch> = read.iter().map(|chunk| &chunk.record_batch).collect();
            let joined = arrow::compute::concat_batches(&schema(), batches).expect("one schema");
            assert_eq!(joined, rows(0..33), "{name} {compression:?}");
            let mut next_row = 0;
            for chunk in &read {
                assert!((1..=8).contains(&chunk.record_batch.num_rows()), "{name}");
                assert_eq!((&*chunk.file, chunk.first_row), (&*path.display().to_string(), next_row));
                next_row += chunk.record_batch.num_rows() as u64;
            }
        }
    }
}

#[test]
fn an_empty_dataset_is_a_dataset() {
    let folder = folder();
    for name in ["a.parquet", "a.arrow", "a.arrows"] {
        let path = folder.path().join(name);
        write(&path, &[], &WriteOptions::default());
        let dataset = open(&path).expect(name);
        assert!(chunks(&dataset, 8, None).is_empty());
        assert_eq!(dataset.schema(), &schema());
    }
}

#[test]
fn files_of_several_formats_are_one_dataset_in_the_order_given() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    write(path("b.parquet").as_ref(), &[rows(0..5)], &WriteOptions::default());
    write(path("a.arrow").as_ref(), &[rows(5..9)], &WriteOptions::default());
    write(path("c.parquet").as_ref(), &[rows(9..12)], &WriteOptions::default());
    let dataset = Dataset::open(&[path("b.parquet"), path("a.arrow"), path("c.parquet")]).expect("one schema");
    assert_eq!(dataset.rows(), None, "the Arrow file does not tell");
    let read = chunks(&dataset, 4, Some(&[1]));
    assert_eq!(labels(&read), (0..12).collect::<Vec<_>>());
    let first_rows: Vec<u64> = read.iter().map(|chunk| chunk.first_row).collect();
    assert_eq!(first_rows, [0, 4, 0, 0]);
    assert!(read.iter().all(|chunk| chunk.record_batch.num_columns() == 1));
    assert_eq!(labels(&chunks(&dataset, 100, None)).len(), 12, "files can be read again");
    let sorted = open(folder.path()).expect("folder");
    assert_eq!(labels(&chunks(&sorted, 100, None))[..4], [5, 6, 7, 8], "a folder's files are sorted");
    assert_eq!(open(&folder.path().join("*.parquet")).expect("pattern").rows(), Some(8));
}

#[test]
fn projection_and_batch_rows_are_checked() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    write(&path, &[rows(0..5)], &WriteOptions::default());
    let dataset = open(&path).expect("opens");
    assert!(dataset.read(0, None).is_err());
    assert!(dataset.read(1, Some(&[7])).is_err());
    let both = dataset.read(2, Some(&[1, 0, 1])).expect("begins");
    assert_eq!(both.schema(), &schema(), "columns keep the dataset's order");
}

#[test]
fn columns_that_differ_are_named_with_their_file() {
    let folder = folder();
    let first = folder.path().join("a.parquet");
    write(&first, &[rows(0..5)], &WriteOptions::default());
    let other = |fields: Vec<Field>| {
        let schema = Arc::new(Schema::new(fields));
        let path = folder.path().join("b.parquet");
        write(&path, &[RecordBatch::new_empty(schema)], &WriteOptions { overwrite: true, ..WriteOptions::default() });
        open(folder.path()).expect_err("columns differ").to_string()
    };
    let image = || schema().field(0).clone();
    let label = |data_type| Field::new("label", data_type, true);
    let error = other(vec![image(), label(DataType::Utf8)]);
    assert!(error.contains("b.parquet: column \"label\" is Utf8, in ") && error.contains("it is Int64"), "{error}");
    let error = other(vec![image()]);
    assert!(error.contains("b.parquet: has no column \"label\""), "{error}");
    let error = other(vec![image(), label(DataType::Int64), Field::new("x", DataType::Int8, true)]);
    assert!(error.contains("b.parquet: has a column \"x\""), "{error}");

    let tensor = |name: &str, shape: &str| {
        let item = Field::new("item", DataType::UInt8, false);
        let metadata = [("ARROW:extension:name", "arrow.fixed_shape_tensor"), ("ARROW:extension:metadata", shape)];
        let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string()));
        let field = Field::new("image", DataType::FixedSizeList(Arc::new(item), 3072), true);
        let schema = Arc::new(Schema::new(vec![field.with_metadata(metadata.into())]));
        let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
        write(&folder.path().join(name), &[RecordBatch::new_empty(schema)], &options);
    };
    tensor("a.parquet", r#"{"shape":[32,32,3]}"#);
    tensor("b.parquet", r#"{"shape":[3,32,32]}"#);
    let error = open(folder.path()).expect_err("channels lie elsewhere").to_string();
    assert!(error.contains("b.parquet: the tensors of column \"image\" have another shape"), "{error}");
}

#[test]
fn nullability_and_nested_metadata_may_differ() {
    let folder = folder();
    let file = |name: &str, nullable: bool, metadata: &str| {
        let metadata = [("key".to_string(), metadata.to_string())];
        let item = Arc::new(Field::new("item", DataType::Int64, nullable).with_metadata(metadata.into()));
        let part = Field::new("part", DataType::Int64, nullable);
        let values = || -> ArrayRef {
            Arc::new(Int64Array::from_iter((0..4).map(|value| (!nullable || value % 2 == 0).then_some(value))))
        };
        let lists = ListArray::new(Arc::clone(&item), OffsetBuffer::from_lengths([1, 3]), values(), None);
        let structs = StructArray::new(Fields::from(vec![part.clone()]), vec![values().slice(0, 2)], None);
        let fields = vec![
            Field::new("label", DataType::Int64, nullable),
            Field::new("lists", DataType::List(item), false),
            Field::new("structs", structs.data_type().clone(), false),
        ];
        let columns: Vec<ArrayRef> = vec![values().slice(1, 2), Arc::new(lists), Arc::new(structs)];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit");
        write(&folder.path().join(name), &[batch], &WriteOptions::default());
    };
    file("a.parquet", false, "one");
    file("b.parquet", true, "two");
    let dataset = open(folder.path()).expect("the same columns");
    assert!(dataset.schema().field(0).is_nullable() && !dataset.schema().field(1).is_nullable());
    let read = chunks(&dataset, 10, None);
    assert!(read.iter().all(|chunk| chunk.record_batch.schema_ref() == dataset.schema()));
    let items = |chunk: &Chunk| chunk.record_batch.column(1).as_list::<i32>().values().null_count();
    let parts = |chunk: &Chunk| chunk.record_batch.column(2).as_struct().column(0).null_count();
    assert_eq!(read.iter().map(|chunk| (items(chunk), parts(chunk))).collect::<Vec<_>>(), [(0, 0), (2, 1)]);
}

#[test]
fn damaged_files_are_named_and_never_a_panic() {
    let folder = folder();
    for name in ["a.parquet", "a.arrow", "a.arrows"] {
        let path = folder.path().join(name);
        write(&path, &[rows(0..50), rows(50..100)], &WriteOptions::default());
        let whole = fs::read(&path).expect("just written");
        for length in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..length]).expect("writes");
            let result = open(&path).and_then(|dataset| dataset.read(32, None)?.collect::<Result<Vec<_>, _>>());
            match result {
                Err(error) => assert!(error.to_string().contains(name), "{name} cut at {length}: {error}"),
                Ok(read) => {
                    assert!(labels(&read).len() == 100 && length + 8 > whole.len(), "{name} cut at {length} passed")
                }
            }
        }
        fs::write(&path, &whole[..whole.len() - 4]).expect("writes");
        if name == "a.parquet" {
            let error = open(&path).expect_err("without its end").to_string();
            assert!(error.contains("incomplete or damaged") && error.contains("download it again"), "{error}");
        }
    }
}

/// Parquet only: Arrow's IPC reader allocates whatever length a message claims before it reads, and an allocation that
/// fails ends the process.
#[test]
fn altered_parquet_is_never_a_panic() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    write(&path, &[rows(0..20)], &WriteOptions::default());
    let whole = fs::read(&path).expect("just written");
    for position in (0..whole.len()).step_by(3) {
        let mut altered = whole.clone();
        altered[position] ^= 0x81;
        fs::write(&path, &altered).expect("writes");
        let result = open(&path).and_then(|dataset| dataset.read(32, None)?.collect::<Result<Vec<_>, _>>());
        if let Err(error) = result {
            assert!(error.to_string().contains("a.parquet"), "altered at {position}: {error}");
        }
    }
}

#[test]
fn what_is_no_dataset_is_refused() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    for (content, expected) in [(&b""[..], "is empty"), (b"id,label\n1,2\n", "neither Parquet, Arrow")] {
        fs::write(&path, content).expect("writes");
        let error = open(&path).expect_err("no dataset").to_string();
        assert!(error.contains("a.parquet") && error.contains(expected), "{error}");
    }
}

#[test]
fn the_iterator_ends_after_an_error() {
    let folder = folder();
    let path = folder.path().join("a.arrows");
    write(&path, &[rows(0..50), rows(50..100)], &WriteOptions::default());
    let whole = fs::read(&path).expect("just written");
    fs::write(&path, &whole[..whole.len() - 200]).expect("writes");
    let mut read = open(&path).expect("the schema is there").read(100, None).expect("begins");
    assert_eq!(read.next().expect("first batch").expect("is whole").record_batch.num_rows(), 50);
    assert!(read.next().expect("second batch").is_err());
    assert!(read.next().is_none());
}

/// A sender that dies between two record batches leaves what looks like a whole stream, but for its last 8 bytes.
#[test]
fn a_stream_without_its_end_is_noticed() {
    let folder = folder();
    let path = folder.path().join("a.arrows");
    write(&path, &[rows(0..50), rows(50..100)], &WriteOptions::default());
    let whole = fs::read(&path).expect("just written");
    assert_eq!(labels(&chunks(&open(&path).expect("opens"), 30, None)).len(), 100);
    for cut in [8, 4, 1] {
        let stream = io::Cursor::new(whole[..whole.len() - cut].to_vec());
        let dataset = Dataset::from_stream("stdin", stream).expect("the schema is there");
        let mut read = dataset.read(100, None).expect("begins");
        for _ in 0..2 {
            assert_eq!(read.next().expect("a batch").expect("is whole").record_batch.num_rows(), 50);
        }
        let message = read.next().expect("an error").expect_err("no end").to_string();
        assert!(message.starts_with("stdin: "), "{message}");
        assert!(read.next().is_none());
    }
    fs::write(&path, &whole[..whole.len() - 8]).expect("writes");
    let message =
        open(&path).expect("opens").read(100, None).expect("begins").last().expect("items").expect_err("no end");
    assert!(message.to_string().contains("rows may be missing"), "{message}");
}

#[test]
fn a_cancelled_dataset_reads_no_further() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    write(&path, &[rows(0..100)], &WriteOptions::default());
    let cancel = Cancel::default();
    let dataset = Dataset::open_with(&[path.display().to_string()], &cancel).expect("opens");
    let mut read = dataset.read(10, None).expect("begins");
    assert!(read.next().expect("a chunk").is_ok());
    cancel.cancel();
    assert!(matches!(read.next(), Some(Err(Error::Cancelled))));
    assert!(read.next().is_none());
}

#[test]
fn reading_can_move_to_another_thread() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    write(&path, &[rows(0..100)], &WriteOptions::default());
    let dataset = open(&path).expect("opens");
    let read = dataset.read(7, None).expect("begins");
    let count =
        std::thread::spawn(move || read.map(|chunk| chunk.expect("reads").record_batch.num_rows()).sum::<usize>());
    assert_eq!(count.join().expect("does not panic"), 100);
}

#[test]
fn a_dataset_of_photographs_and_one_of_cifar() {
    let Some(data) = std::env::var_os("DISMAX_DATA").map(PathBuf::from) else {
        println!("skipped: DISMAX_DATA names no folder with cifar10/test.parquet and large/textures.parquet");
        return;
    };
    let test = data.join("cifar10/test.parquet");
    use dismax::dataset::{ImageColumn, LabelColumn, LoadOptions};
    for (file, rows, sides) in [(test, 10_000, 32..=32), (data.join("large/textures.parquet"), 300, 100..=1_000)] {
        let dataset = open(&file).expect("opens");
        assert_eq!(dataset.rows(), Some(rows));
        let column = ImageColumn::find(dataset.schema(), None).expect("one column fits");
        let label = LabelColumn::find(dataset.schema(), None);
        if let Ok(label) = &label {
            assert_eq!(label.class_names().map(<[String]>::len), Some(10));
        }
        let chunk = dataset.read(64, None).expect("begins").next().expect("has rows").expect("reads");
        let images = column.images(&chunk).expect("has the column");
        for row in 0..chunk.record_batch.num_rows() {
            let pixels = LoadOptions::default().load(&images, row).expect("decodes");
            assert!(sides.contains(&pixels.width) && sides.contains(&pixels.height));
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    /// However rows lie in files, batches and row groups, and in whatever pieces they are read: the same rows come in
    /// the same order, numbered from the start of their file.
    #[test]
    fn pieces_do_not_change_rows(
        files in proptest::collection::vec(proptest::collection::vec(0i64..40, 0..4), 1..4),
        formats in proptest::collection::vec(0usize..3, 4),
        row_group_rows in 1usize..50,
        batch_rows in 1usize..50,
    ) {
        let folder = folder();
        let mut next = 0;
        for (index, (batches, format)) in files.iter().zip(formats).enumerate() {
            let path = folder.path().join(format!("{index}.{}", ["parquet", "arrow", "arrows"][format]));
            let batches: Vec<RecordBatch> = batches
                .iter()
                .map(|length| {
                    next += length;
                    rows(next - length..next)
                })
                .collect();
            write(&path, &batches, &WriteOptions { row_group_rows, ..WriteOptions::default() });
        }
        let read = chunks(&open(folder.path()).expect("one schema"), batch_rows, None);
        assert_eq!(labels(&read), (0..next).collect::<Vec<_>>());
        let mut expected = (None, 0);
        for chunk in &read {
            let length = chunk.record_batch.num_rows();
            assert!((1..=batch_rows).contains(&length));
            if expected.0.as_ref() != Some(&chunk.file) {
                expected = (Some(chunk.file.clone()), 0);
            }
            assert_eq!(chunk.first_row, expected.1);
            expected.1 += length as u64;
        }
    }
}
