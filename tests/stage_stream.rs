//! The streaming stage: order, determinism, bad rows, and streams that end early.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use common::models;
use dismax::columns::Columns;
use dismax::dataset::{Chunk, Dataset, DatasetWriter, ImageColumn, Images, LoadOptions, WriteOptions};
use dismax::stage::{DecodeOptions, Decoders, Observed, ObservedEmbedding, Observer, Stage, StageOptions};
use dismax::{Device, Error, Result, RowErrorCode};
use image::{ImageFormat, RgbImage};

fn stage(batch_rows: usize, workers: usize) -> Stage {
    let options = StageOptions { device: Device::Cpu, batch_rows, workers, ..StageOptions::default() };
    Stage::try_new(models::calibrated(), &options).expect("a stage")
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
            Ok(Chunk { record_batch, file: "made up".into(), source: 0, first_row: start as u64 })
        })
        .collect()
}

/// The same with each chunk's images.
fn items(record_batch: &RecordBatch, size: usize) -> Vec<Result<(Images, Chunk)>> {
    let column = ImageColumn::find(&record_batch.schema(), None).expect("an image column");
    let item = |chunk: Result<Chunk>| chunk.and_then(|chunk| Ok((column.images(&chunk)?, chunk)));
    chunks(record_batch, size).into_iter().map(item).collect()
}

/// All rows with their columns, in the order in which they come.
fn scored(stage: &Stage, record_batch: &RecordBatch, size: usize) -> RecordBatch {
    let columns = Columns::try_new(stage, "").expect("columns");
    let schema = columns.schema(&record_batch.schema()).expect("a schema");
    let batches: Vec<RecordBatch> = stage
        .score(items(record_batch, size))
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
    let second = Columns::try_new(&stage(8, 1), "second_").expect("columns").with_alpha(0.1).expect("an alpha");
    let metadata = second.schema(&batch.schema()).expect("a schema").metadata().clone();
    assert_eq!((metadata["dismax.alpha"].as_str(), metadata["dismax.second_alpha"].as_str()), ("0.05", "0.1"));
}

#[test]
fn prediction_sets_are_a_column_on_request() {
    let stage = stage(8, 1);
    let rows = record_batch(20, true);
    let columns = Columns::try_new(&stage, "").expect("columns").with_prediction_set(0.1).expect("enough rows");
    let schema = columns.schema(&rows.schema()).expect("a schema");
    assert_eq!(schema.metadata()["dismax.prediction_set_alpha"], "0.1");
    assert_eq!(schema.fields().last().map(|field| field.name().as_str()), Some("prediction_set"));
    let thresholds = columns.set_thresholds(0.1).expect("enough rows");
    let mut sizes = std::collections::BTreeSet::new();
    for scored in stage.score(items(&rows, 7)) {
        let (chunk, scored) = scored.expect("scores");
        let batch = columns.append(&chunk.record_batch, &scored, &schema).expect("columns");
        let column = |name: &str| batch.column_by_name(name).expect("a column");
        let (sets, lists) = (column("prediction_set").as_list::<i32>(), column("probabilities").as_fixed_size_list());
        for row in 0..batch.num_rows() {
            assert_eq!(sets.is_null(row), column("error").is_valid(row), "{row}");
            if sets.is_valid(row) {
                let probabilities = lists.value(row);
                let expected = thresholds.set(probabilities.as_primitive::<Float32Type>().values());
                let expected: Vec<&str> = expected.map(|class| ["cat", "dog", "ship"][class]).collect();
                let names = sets.value(row);
                assert_eq!(names.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), expected);
                sizes.insert(expected.len());
            }
        }
    }
    assert!(sizes.last() > Some(&0), "{sizes:?}");
    let message = columns.with_prediction_set(0.001).expect_err("100 rows").to_string();
    assert!(message.contains("need 999 calibration rows"), "{message}");
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let schema = Schema::new(vec![Field::new("confidence", DataType::Utf8, true)]);
    let error = Columns::try_new(&stage(8, 1), "").expect("columns").schema(&schema).expect_err("a refusal");
    assert!(matches!(&error, Error::ColumnTaken { name } if name == "confidence"), "{error}");
    assert!(Columns::try_new(&stage(8, 1), "my_").expect("columns").schema(&schema).is_ok());
}

#[test]
fn empty_and_all_null_batches_are_fine() {
    let stage = stage(4, 2);
    assert_eq!(scored(&stage, &record_batch(1, false), 1).num_rows(), 1);
    let nulls = RecordBatch::try_from_iter([("image", Arc::new(BinaryArray::new_null(5)) as _)]).expect("a batch");
    let out = scored(&stage, &nulls, 5);
    assert_eq!(out.column_by_name("error").expect("errors").as_string::<i32>().value(4), "null_image");
    let column = ImageColumn::find(&nulls.schema(), None).expect("a column");
    let none = column.images_in(&nulls.slice(0, 0)).expect("no images");
    let ((), scores) = stage.score([Ok((none, ()))]).next().expect("an item").expect("scores");
    assert!(scores.rows().is_empty());
}

#[test]
fn reading_ahead_is_bounded_and_dropping_early_stops_it() {
    let stage = stage(4, 2);
    let input = record_batch(400, false);
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let source = items(&input, 4).into_iter().inspect(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let mut stream = stage.score(source);
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
    let mut source = items(&input, 4);
    source.push(Err(Error::data("made up", "the source broke")));
    source.extend(items(&input, 4));
    let results: Vec<_> = stage.score(source).collect();
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
    let options = StageOptions { device: Device::Cpu, workers: 1, ..StageOptions::default() };
    let stage = Stage::try_new(models::uncalibrated(), &options).expect("logits need no calibration");
    let error = Columns::try_new(&stage, "").expect_err("a refusal").to_string();
    assert!(error.contains("not calibrated"), "{error}");
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
        let options =
            StageOptions { device: Device::Cpu, column: Some("path".into()), load, ..StageOptions::default() };
        Stage::try_new(models::calibrated(), &options).expect("a stage").input_column(&dataset)
    };
    let message = paths(false).expect_err("every row would fail").to_string();
    assert!(message.contains("\"path\""), "{message}");
    assert!(paths(true).is_ok());
}

/// Keeps the row's number, its digest and how many pixels or which error it had.
struct Recorder;

impl Observer for Recorder {
    type Value = (usize, [u8; 32], Result<usize, RowErrorCode>);

    fn observe(&self, image: &Observed<'_>) -> Self::Value {
        let outcome = image.pixels.map(|pixels| pixels.data.len()).map_err(|error| error.code);
        (image.row, image.digest(), outcome)
    }

    fn observe_embedding(&self, _: &ObservedEmbedding<'_>) -> Self::Value {
        unreachable!("there are only images")
    }
}

#[test]
fn an_observer_sees_every_row_once_and_changes_no_score() {
    let record_batch = record_batch(40, true);
    let column = ImageColumn::find(&record_batch.schema(), None).expect("an image column");
    let stage = stage(8, 2);
    let observed = stage.score_observed(items(&record_batch, 16), Arc::new(Recorder));
    let mut rows = 0;
    for (observed, plain) in observed.zip(stage.score(items(&record_batch, 16))) {
        let ((chunk, observed), (_, plain)) = (observed.expect("scores"), plain.expect("scores"));
        let images = column.images(&chunk).expect("images");
        assert_eq!(observed.observed().len(), images.len());
        for (row, (number, digest, outcome)) in observed.observed().iter().enumerate() {
            assert_eq!((*number, *digest), (row, images.digest(row)));
            assert_eq!(
                outcome.map(|values| values == 8 * 8 * 3),
                plain.rows()[row].as_ref().map(|()| true).map_err(|e| e.code)
            );
            assert_eq!(observed.logits(row), plain.logits(row));
            rows += 1;
        }
    }
    assert_eq!(rows, 40);
}

/// Fails on the first image of a chunk whose row is asked for.
struct Panics;

impl Observer for Panics {
    type Value = ();

    fn observe(&self, image: &Observed<'_>) {
        assert!(image.row != 3, "an observer that panics");
    }

    fn observe_embedding(&self, _: &ObservedEmbedding<'_>) {
        unreachable!("there are only images")
    }
}

#[test]
fn a_panic_in_a_worker_ends_its_stream_and_not_the_pool() {
    let stage = stage(4, 2);
    let input = record_batch(40, false);
    for _ in 0..5 {
        let first = stage.score_observed(items(&input, 8), Arc::new(Panics)).next().expect("an item");
        assert!(matches!(first, Err(Error::Internal(_))), "{first:?}");
    }
    // More panics than workers: all of them are still there.
    assert_eq!(scored(&stage, &input, 8).num_rows(), 40);
}

#[test]
fn logits_of_another_model_are_refused() {
    let input = record_batch(4, false);
    let mut other = models::calibrated();
    let folder = tempfile::tempdir().expect("a folder");
    other.write(folder.path().join("other"), false).expect("written");
    let options = StageOptions { device: Device::Cpu, workers: 1, ..StageOptions::default() };
    let other = Stage::try_new(other, &options).expect("a stage");
    let columns = Columns::try_new(&other, "").expect("columns");
    let (_, scored) = stage(4, 1).score(items(&input, 4)).next().expect("an item").expect("scores");
    let error = columns.build(&scored).expect_err("a refusal").to_string();
    assert!(error.contains("cannot calibrate the logits of model"), "{error}");
}

/// Keeps the position of an image in its chunk, its digest and the sum of its pixels.
struct Sums;

impl Observer for Sums {
    type Value = (usize, [u8; 32], Option<u64>);

    fn observe(&self, image: &Observed<'_>) -> Self::Value {
        let sum = image.pixels.ok().map(|pixels| pixels.data.iter().map(|value| u64::from(*value)).sum());
        (image.row, image.digest(), sum)
    }

    fn observe_embedding(&self, _: &ObservedEmbedding<'_>) -> Self::Value {
        unreachable!("there are only images")
    }
}

#[test]
fn decoders_show_the_images_that_a_stage_shows() {
    let folder = common::datasets::folder();
    let path = folder.path().join("images.parquet");
    let rows = record_batch(500, true);
    common::datasets::write(&path, std::slice::from_ref(&rows), &WriteOptions::default());
    let dataset = common::datasets::open(&path).expect("images");
    let cancel = dismax::cancel::Cancel::default();
    let stage = stage(32, 2);
    let scanned = stage.scan_observed(&dataset, None, cancel.clone(), Arc::new(Sums)).expect("a scan");
    let scanned: Vec<_> = scanned.map(|scanned| scanned.expect("rows")).collect();
    for workers in [1, 3] {
        let decoders = Decoders::try_new(&DecodeOptions { workers, ..DecodeOptions::default() }).expect("decoders");
        let decoded = decoders.scan(&dataset, None, cancel.clone(), Arc::new(Sums)).expect("a scan");
        let decoded: Vec<_> = decoded.map(|decoded| decoded.expect("rows")).collect();
        assert_eq!(decoded.len(), scanned.len());
        for ((chunk, decoded), (other, scored)) in decoded.iter().zip(&scanned) {
            assert_eq!((&chunk.record_batch, chunk.first_row), (&other.record_batch, other.first_row));
            assert_eq!((decoded.rows(), decoded.observed()), (scored.rows(), scored.observed()));
        }
    }
    let decoders = Decoders::try_new(&DecodeOptions::default()).expect("decoders");
    let mut scan = decoders.scan(&dataset, Some(&[]), cancel.clone(), Arc::new(Sums)).expect("a scan");
    let (chunk, _) = scan.next().expect("a chunk").expect("rows");
    assert_eq!(chunk.record_batch.schema().fields().len(), 1, "the images alone are read");
    cancel.cancel();
    assert!(scan.find_map(Result::err).is_some_and(|error| matches!(error, Error::Cancelled)));
    assert!(Decoders::try_new(&DecodeOptions { workers: 2000, ..DecodeOptions::default() }).is_err());
}
