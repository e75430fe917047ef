//! The streaming stage: order, determinism, bad rows, and streams that end early.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use common::models;
use dismax::columns::Columns;
use dismax::dataset::{Chunk, Dataset, DatasetWriter, ImageColumn, LoadOptions, WriteOptions};
use dismax::image::{EncodedFormat, Inspector};
use dismax::stage::{Stage, StageOptions};
use dismax::{Device, Error, Result};
use image::{ImageFormat, RgbImage};

fn stage(batch_rows: usize, workers: usize) -> Stage {
    let options = StageOptions { device: Device::Cpu, batch_rows, workers, ..StageOptions::default() };
    Stage::new(&models::calibrated(), &options).expect("a stage")
}

fn png(seed: u8) -> Vec<u8> {
    let image = RgbImage::from_fn(8, 8, |x, y| image::Rgb([seed, (x * 30) as u8 ^ seed, (y * 30) as u8]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("a PNG");
    bytes.into_inner()
}

/// `rows` images; every fifth cannot be decoded and every seventh is null.
fn record_batch(rows: usize, with_bad_rows: bool) -> RecordBatch {
    let images: Vec<Option<Vec<u8>>> = (0..rows)
        .map(|row| match row {
            _ if with_bad_rows && row % 7 == 3 => None,
            _ if with_bad_rows && row % 5 == 2 => Some(b"not an image".to_vec()),
            _ => Some(png(row as u8)),
        })
        .collect();
    let images = BinaryArray::from_iter(images);
    let numbers = Int64Array::from_iter_values(0..rows as i64);
    let fields = vec![Field::new("number", DataType::Int64, false), Field::new("image", DataType::Binary, true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), Arc::new(images)]).expect("a batch")
}

fn chunks(record_batch: &RecordBatch, size: usize) -> Vec<Result<Chunk>> {
    let rows = record_batch.num_rows();
    let starts = (0..rows).step_by(size);
    starts
        .map(|start| {
            let record_batch = record_batch.slice(start, size.min(rows - start));
            Ok(Chunk { record_batch, file: "made up".into(), first_row: start as u64 })
        })
        .collect()
}

/// All rows with their columns, in the order in which they come.
fn scored(stage: &Stage, record_batch: &RecordBatch, size: usize) -> RecordBatch {
    let columns = Columns::new(&models::calibrated(), "").expect("columns");
    let schema = columns.schema(&record_batch.schema()).expect("a schema");
    let column = ImageColumn::find(&record_batch.schema(), None).expect("an image column");
    let batches: Vec<RecordBatch> = stage
        .score(column, chunks(record_batch, size))
        .map(|scored| {
            let (chunk, scored) = scored.expect("scores");
            columns.append(&chunk.record_batch, &scored, &schema).expect("columns")
        })
        .collect();
    arrow::compute::concat_batches(&schema, &batches).expect("one batch")
}

fn floats(record_batch: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    record_batch.column_by_name(name).expect("a column").as_primitive::<Float32Type>().iter().collect()
}

#[test]
fn neither_batch_size_nor_workers_change_scores_or_order() {
    let input = record_batch(101, true);
    let expected = scored(&stage(32, 1), &input, 64);
    for (batch_rows, workers, size) in [(1, 1, 1), (1, 3, 5), (7, 2, 101), (64, 2, 64), (3, 4, 10)] {
        let got = scored(&stage(batch_rows, workers), &input, size);
        assert_eq!(got.column(0), expected.column(0), "order with batches of {batch_rows} and {workers} workers");
        for name in ["prediction", "error", "is_ood"] {
            assert_eq!(got.column_by_name(name), expected.column_by_name(name), "{name}");
        }
        for name in ["confidence", "ood_score", "ood_p_value"] {
            for (row, (a, b)) in floats(&got, name).into_iter().zip(floats(&expected, name)).enumerate() {
                assert_eq!(a.is_some(), b.is_some());
                let difference = (a.unwrap_or(0.0) - b.unwrap_or(0.0)).abs();
                assert!(difference <= 1e-4, "{name} of row {row} differs by {difference}");
            }
        }
    }
}

#[test]
fn a_bad_row_costs_its_neighbours_nothing() {
    let stage = stage(8, 2);
    let (with_bad, without) =
        (scored(&stage, &record_batch(50, true), 16), scored(&stage, &record_batch(50, false), 16));
    let errors = with_bad.column_by_name("error").expect("errors").as_string::<i32>().clone();
    let (bad_scores, good_scores) = (floats(&with_bad, "ood_score"), floats(&without, "ood_score"));
    for row in 0..50 {
        match (row % 7 == 3, row % 5 == 2) {
            (true, _) => assert_eq!(errors.value(row), "null_image"),
            (false, true) => assert!(errors.value(row).starts_with("unknown_format"), "{}", errors.value(row)),
            (false, false) => {
                assert!(errors.is_null(row));
                let difference = bad_scores[row].expect("a score") - good_scores[row].expect("a score");
                assert!(difference.abs() <= 1e-4, "row {row}");
                continue;
            }
        }
        assert_eq!(bad_scores[row], None);
        assert!(with_bad.column_by_name("probabilities").expect("a column").is_null(row));
        assert!(with_bad.column_by_name("is_ood").expect("a column").is_null(row));
    }
}

#[test]
fn columns_hold_what_their_names_say() {
    let batch = scored(&stage(8, 1), &record_batch(20, false), 20);
    let lists = batch.column_by_name("probabilities").expect("a column").as_fixed_size_list().clone();
    let names = batch.column_by_name("prediction").expect("a column");
    let names = arrow::compute::cast(names, &DataType::Utf8).expect("names");
    let alpha = 0.05;
    for row in 0..20 {
        let probabilities = lists.value(row);
        let probabilities = probabilities.as_primitive::<Float32Type>().values().to_vec();
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let confidence = floats(&batch, "confidence")[row].expect("a value");
        let largest = probabilities.iter().copied().fold(0.0, f32::max);
        assert!((confidence - largest).abs() < 1e-6);
        let class = ["cat", "dog", "ship"].iter().position(|name| *name == names.as_string::<i32>().value(row));
        assert_eq!(probabilities[class.expect("a class")], largest);
        let p_value = floats(&batch, "ood_p_value")[row].expect("a value");
        let flagged = batch.column_by_name("is_ood").expect("a column").as_boolean().value(row);
        assert_eq!(flagged, p_value <= alpha);
    }
    let metadata = batch.schema().metadata().clone();
    for key in ["dismax.model_digest", "dismax.temperature", "dismax.score", "dismax.alpha"] {
        assert!(metadata.contains_key(key), "{key}");
    }
    // A second model's columns keep what is known of the first's.
    let second = Columns::new(&models::calibrated(), "second_").expect("columns").with_alpha(0.1).expect("an alpha");
    let metadata = second.schema(&batch.schema()).expect("a schema").metadata().clone();
    assert_eq!((metadata["dismax.alpha"].as_str(), metadata["dismax.second_alpha"].as_str()), ("0.05", "0.1"));
}

#[test]
fn a_name_that_is_taken_is_refused_with_the_way_out() {
    let schema = Schema::new(vec![Field::new("confidence", DataType::Utf8, true)]);
    let error = Columns::new(&models::calibrated(), "").expect("columns").schema(&schema).expect_err("a refusal");
    assert!(error.to_string().contains("--prefix"), "{error}");
    assert!(Columns::new(&models::calibrated(), "my_").expect("columns").schema(&schema).is_ok());
}

#[test]
fn empty_and_all_null_batches_are_fine() {
    let stage = stage(4, 2);
    assert_eq!(scored(&stage, &record_batch(1, false), 1).num_rows(), 1);
    let nulls = RecordBatch::try_from_iter([("image", Arc::new(BinaryArray::new_null(5)) as _)]).expect("a batch");
    let out = scored(&stage, &nulls, 5);
    assert_eq!(out.column_by_name("error").expect("errors").as_string::<i32>().value(4), "null_image");
    let column = ImageColumn::find(&nulls.schema(), None).expect("a column");
    let none = Chunk { record_batch: nulls.slice(0, 0), file: "made up".into(), first_row: 0 };
    let (_, scores) = stage.score(column, [Ok(none)]).next().expect("an item").expect("scores");
    assert!(scores.rows().is_empty());
}

#[test]
fn reading_ahead_is_bounded_and_dropping_early_stops_it() {
    let stage = stage(4, 2);
    let input = record_batch(400, false);
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let source = chunks(&input, 4).into_iter().inspect(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let column = ImageColumn::find(&input.schema(), None).expect("a column");
    let mut stream = stage.score(column, source);
    for _ in 0..3 {
        stream.next().expect("an item").expect("scores");
    }
    drop(stream);
    let read = read.load(Ordering::SeqCst);
    assert!(read <= 3 + 4, "{read} of 100 chunks were read for 3");
    drop(stage);
}

#[test]
fn the_sources_first_error_ends_the_stream() {
    let stage = stage(4, 2);
    let input = record_batch(8, false);
    let mut source = chunks(&input, 4);
    source.push(Err(Error::data("made up", "the source broke")));
    source.extend(chunks(&input, 4));
    let column = ImageColumn::find(&input.schema(), None).expect("a column");
    let results: Vec<_> = stage.score(column, source).collect();
    let came: Vec<bool> = results.iter().map(|result| result.is_ok()).collect();
    assert_eq!(came, [true, true, false], "the rows before the error come first");
}

#[test]
fn streams_share_the_workers() {
    let stage = stage(4, 2);
    let input = record_batch(60, true);
    let expected = scored(&stage, &input, 10);
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..4).map(|_| scope.spawn(|| scored(&stage, &input, 10))).collect();
        for stream in streams {
            assert_eq!(stream.join().expect("a stream").column(0), expected.column(0));
        }
    });
}

#[test]
fn a_model_that_is_not_calibrated_cannot_flag() {
    let error = Columns::new(&models::uncalibrated(), "").expect_err("a refusal").to_string();
    assert!(error.contains("dismax calibrate"), "{error}");
}

#[test]
fn text_is_no_image_unless_it_is_asked_for() {
    let batch =
        RecordBatch::try_from_iter([("path", Arc::new(StringArray::from(vec!["a.png"])) as _)]).expect("a batch");
    assert!(ImageColumn::find(&batch.schema(), None).is_err());

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.parquet").display().to_string();
    let mut writer = DatasetWriter::create(&file, &batch.schema(), &WriteOptions::default()).expect("begins");
    writer.write(&batch).expect("writes");
    writer.finish().expect("finishes");
    let dataset = Dataset::open(&[file]).expect("opens");
    let paths = |read_paths| {
        let load = LoadOptions { read_paths, ..LoadOptions::default() };
        let options = StageOptions { device: Device::Cpu, image: Some("path".into()), load, ..StageOptions::default() };
        Stage::new(&models::calibrated(), &options).expect("a stage").image_column(&dataset)
    };
    let message = paths(false).expect_err("every row would fail").to_string();
    assert!(message.contains("\"path\"") && message.contains("--read-paths"), "{message}");
    assert!(paths(true).is_ok());
}

#[test]
fn images_are_inspected_on_request_and_scored_the_same() {
    let record_batch = record_batch(40, true);
    let column = ImageColumn::find(&record_batch.schema(), None).expect("an image column");
    let options = StageOptions { device: Device::Cpu, batch_rows: 8, workers: 2, ..StageOptions::default() };
    let inspecting =
        Stage::new(&models::calibrated(), &StageOptions { inspect: true, ..options.clone() }).expect("a stage");
    let plain = Stage::new(&models::calibrated(), &options).expect("a stage");
    assert!(inspecting.inspects() && !plain.inspects());
    let mut inspector = Inspector::default();
    let both =
        inspecting.score(column.clone(), chunks(&record_batch, 16)).zip(plain.score(column, chunks(&record_batch, 16)));
    let mut rows = 0;
    for (inspected, plain) in both {
        let ((chunk, inspected), (_, plain)) = (inspected.expect("scores"), plain.expect("scores"));
        for row in 0..chunk.record_batch.num_rows() {
            assert_eq!(inspected.rows()[row], plain.rows()[row]);
            assert!(plain.inspection(row).is_none());
            let number = chunk.first_row + row as u64;
            let Some(seen) = inspected.inspection(row) else {
                assert!(inspected.rows()[row].is_err(), "row {number} has scores and no inspection");
                continue;
            };
            let pixels = dismax::image::decode(&png(number as u8), &LoadOptions::default().limits).expect("a PNG");
            assert_eq!(seen.image, inspector.inspect(&pixels).expect("a whole image"));
            assert_eq!(seen.source.format, Some(EncodedFormat::Png));
            rows += 1;
        }
    }
    assert_eq!(rows, (0..40).filter(|row| row % 7 != 3 && row % 5 != 2).count());
}
