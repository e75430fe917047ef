//! Inputs of other writers that were once misread, refused without need or ended in a panic.

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array, IntervalMonthDayNanoArray, RecordBatch,
    StringArray,
};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, TimeUnit, TimestampMicrosecondType};
use common::models;
use dismax::dataset::{DatasetWriter, ImageColumn, LabelColumn, LoadOptions, WriteOptions};
use dismax::run::Run;
use dismax::score_file::{ScoreOptions, score_to};
use dismax::stage::StageOptions;
use dismax::{Dataset, Device, Error, RowErrorCode, Stage};
use parquet::data_type::Int96Type;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases").join(name)
}

fn open(path: &Path) -> Dataset {
    Dataset::open(&[path.display().to_string()]).expect("opens")
}

fn rows(dataset: &Dataset) -> RecordBatch {
    let chunks: Vec<RecordBatch> =
        dataset.read(1000, None).expect("begins").map(|chunk| chunk.expect("reads").record_batch).collect();
    arrow::compute::concat_batches(dataset.schema(), &chunks).expect("one schema")
}

#[test]
fn int96_times_far_from_today_stay_what_they_are() {
    let dataset = open(&case("int96-far.parquet"));
    let times = dataset.schema().fields().iter().filter(|field| matches!(field.data_type(), DataType::Timestamp(..)));
    let times: Vec<_> = times.map(|field| field.name().clone()).collect();
    assert!(!times.is_empty());
    let batch = rows(&dataset);
    let mut found = Vec::new();
    for name in &times {
        assert!(matches!(batch[name.as_str()].data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)), "{name}");
        found.extend(batch[name.as_str()].as_primitive::<TimestampMicrosecondType>().iter().flatten());
    }
    // Seconds from 1970 of 9999-12-31 23:59:59, 1600-01-01 and 0001-01-01, by the proleptic Gregorian calendar.
    for seconds in [253_402_300_799i64, -11_676_096_000, -62_135_596_800] {
        assert!(found.iter().any(|time| time.div_euclid(1_000_000) == seconds), "{seconds} is not in {found:?}");
    }
}

/// Microseconds reach 292,000 years, INT96 twenty times as far.
#[test]
fn int96_times_beyond_microseconds_are_an_error_with_their_row() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("far.parquet");
    let schema = Arc::new(parse_message_type("message rows { required int96 time; }").expect("a schema"));
    let mut writer =
        SerializedFileWriter::new(File::create(&path).expect("a file"), schema, Arc::default()).expect("begins");
    // Nanoseconds in two words, then the Julian day: 1970-01-01 and some 800,000 years later.
    let times =
        [[0, 0, 2_440_588], [0, 0, 2_440_588], [0, 0, 300_000_000]].map(|words: [u32; 3]| words.to_vec().into());
    let mut group = writer.next_row_group().expect("a row group");
    let mut column = group.next_column().expect("a column").expect("one column");
    column.typed::<Int96Type>().write_batch(&times, None, None).expect("written");
    column.close().expect("closed");
    group.close().expect("closed");
    writer.close().expect("closed");
    let error = open(&path).read(64, None).expect("begins").find_map(Result::err).expect("not expressible").to_string();
    assert!(error.contains("far.parquet, column \"time\", row 2: holds a time"), "{error}");
}

#[test]
fn tensors_in_an_order_that_is_not_read_are_refused_not_transposed() {
    let named = open(&case("tensor-whc-named.parquet"));
    let error = ImageColumn::find(named.schema(), None).expect_err("width before height").to_string();
    assert!(error.contains("no column fits"), "{error}");
    let reference = open(&case("tensor-reference.parquet"));
    assert!(ImageColumn::find(reference.schema(), None).is_ok());
    let tensor = |metadata: &str| {
        let item = Arc::new(Field::new("item", DataType::UInt8, false));
        let field = Field::new("image", DataType::FixedSizeList(item, 24), false);
        let extension = [("ARROW:extension:name", "arrow.fixed_shape_tensor"), ("ARROW:extension:metadata", metadata)];
        field.with_metadata(extension.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    };
    let fits = |metadata: &str| ImageColumn::find(&Schema::new(vec![tensor(metadata)]), None).is_ok();
    assert!(fits(r#"{"shape": [2, 4, 3]}"#) && fits(r#"{"shape": [2, 4, 3], "permutation": [0, 1, 2]}"#));
    assert!(fits(r#"{"shape": [2, 4, 3], "dim_names": ["H", "W", "C"]}"#));
    assert!(!fits(r#"{"shape": [2, 4, 3], "permutation": [1, 0, 2]}"#));
    assert!(!fits(r#"{"shape": [2, 4, 3], "dim_names": ["W", "H", "C"]}"#));
}

#[test]
fn formats_that_are_not_read_are_named() {
    let dataset = open(&case("unsupported-formats.parquet"));
    let column = ImageColumn::find(dataset.schema(), None).expect("a column");
    let chunk = dataset.read(1000, None).expect("begins").next().expect("rows").expect("reads");
    let images = column.images(&chunk).expect("images");
    let mut named = Vec::new();
    for row in 0..images.len() {
        // The file also holds images that are read and files that are damaged.
        if let Err(error) = LoadOptions::default().load(&images, row)
            && error.code == RowErrorCode::UnknownFormat
        {
            named.push(error.detail);
        }
    }
    for name in ["HEIC", "JPEG XL", "JPEG 2000", "SVG", "HTML", "Git LFS"] {
        assert!(named.iter().any(|detail| detail.contains(name)), "{name} is not in {named:?}");
    }
}

/// A file of rows with an image, in a folder, with one more column.
fn file_with(folder: &Path, name: &str, column: &str, array: ArrayRef) -> PathBuf {
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..array.len()).map(|_| b"?")));
    let batch = RecordBatch::try_from_iter([("image", images), (column, array)]).expect("a record batch");
    let path = folder.join(name);
    common::datasets::write(&path, &[batch], &WriteOptions::default());
    path
}

#[test]
fn types_without_a_form_in_parquet_are_refused_by_name_before_work_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let union = open(&case("union.arrow"));
    let interval: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3); 2]));
    let interval = open(&file_with(folder.path(), "interval.arrow", "pause", interval));
    for dataset in [union, interval] {
        let target = folder.path().join("out.parquet").display().to_string();
        let error = DatasetWriter::create(&target, dataset.schema(), &WriteOptions::default()).err();
        let error = error.expect("Parquet cannot hold it").to_string();
        assert!(error.contains("has no form for column"), "{error}");
        assert!(!Path::new(&target).exists());
        let target = folder.path().join("out.arrow").display().to_string();
        let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
        let mut writer = DatasetWriter::create(&target, dataset.schema(), &options).expect("Arrow can");
        writer.write(&rows(&dataset)).expect("written");
        writer.finish().expect("finished");
    }
}

#[test]
fn labels_as_whole_floats_with_nulls_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |values: Vec<Option<f64>>| {
        let path = file_with(folder.path(), "labels.parquet", "label", Arc::new(Float64Array::from(values)));
        let dataset = open(&path);
        let column = LabelColumn::find(dataset.schema(), None).expect("a label column");
        let batch = rows(&dataset);
        std::fs::remove_file(path).expect("removed");
        let classes = ["a", "b", "c"].map(String::from);
        column.labels(&batch).and_then(|labels| labels.to_classes(&classes, "labels.parquet", 0))
    };
    assert_eq!(read(vec![Some(2.0), None, Some(0.0)]).expect("whole numbers"), [Some(2), None, Some(0)]);
    let error = read(vec![Some(0.0), Some(1.5)]).expect_err("not a class").to_string();
    assert!(error.contains("row 1: label 1.5 is not a whole number"), "{error}");
}

#[test]
fn class_names_agree_without_case_and_outer_spaces() {
    let classes = ["Airplane", "ship"].map(String::from);
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["airplane ", "Ship"]));
    let batch = RecordBatch::try_from_iter([("label", labels)]).expect("a record batch");
    let column = LabelColumn::find(&batch.schema(), None).expect("a label column");
    let found = column.labels(&batch).and_then(|labels| labels.to_classes(&classes, "x", 0)).expect("classes");
    assert_eq!(found, [Some(0), Some(1)]);
}

#[test]
fn equal_runs_give_equal_parquet() {
    let folder = tempfile::tempdir().expect("a folder");
    let metadata = (0..20).map(|key| (format!("key {key}"), key.to_string()));
    let bytes: Vec<Vec<u8>> = (0..4)
        .map(|run| {
            let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
            // Each map has an order of its own.
            let schema = Arc::new(schema.with_metadata(metadata.clone().collect()));
            let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2]))]).expect("a batch");
            let path = folder.path().join(format!("{run}.parquet"));
            common::datasets::write(&path, &[batch], &WriteOptions::default());
            std::fs::read(path).expect("bytes")
        })
        .collect();
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_failed_rows_never_replace_an_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = file_with(folder.path(), "in.parquet", "n", Arc::new(Int64Array::from(vec![1, 2])));
    let before = std::fs::read(&input).expect("bytes");
    let options = StageOptions { device: Device::Cpu, workers: 1, ..StageOptions::default() };
    let stage = Stage::try_new(models::calibrated(), &options).expect("a stage");
    let options = ScoreOptions {
        errors_to: Some(input.display().to_string()),
        write: WriteOptions { overwrite: true, ..WriteOptions::default() },
        ..ScoreOptions::default()
    };
    let target = folder.path().join("out.parquet").display().to_string();
    let mut run = Run { cancel: Default::default(), progress: &mut |_| () };
    let error = score_to(&stage, &open(&input), &target, &options, &mut run).expect_err("it is read");
    assert!(matches!(error, Error::OutputIsInput { .. }), "{error}");
    assert_eq!(std::fs::read(&input).expect("bytes"), before);
}
