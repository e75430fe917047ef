//! Whole trainings on the handwritten digits: resuming, streaming, and data that cannot be learnt from.

#[path = "../../tests/common/mod.rs"]
mod common;
mod digits;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use digits::{TRAIN, VALIDATION, job, run, weights};
use dismax::Error;
use dismax::cancel::Cancel;
use dismax::dataset::{DatasetWriter, OnBadFile, WriteOptions};
use dismax::loss::Loss;
use dismax::model::Model;
use dismax::network::Architecture;
use dismax::run::{Progress, Run};
use dismax_train::{HeldOut, Recipe, TrainEvent, TrainJob, checkpoint_path, train};

#[test]
fn an_interrupted_training_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let model = run(&job(&whole, Loss::DismaxDagger, 3)).expect("trained");
    assert_eq!(model.history().expect("trained here").epochs.len(), 3);
    assert!(!checkpoint_path(&whole).exists(), "a finished training needs no checkpoint");

    // Stopped in the middle of the second epoch.
    let cancel = Cancel::default();
    let stop = cancel.clone();
    let mut stop_at_half = |progress: Progress| {
        if progress.task == "training" && progress.of.is_some_and(|of| 2 * progress.rows >= of) {
            stop.cancel();
        }
    };
    let result =
        train(&job(&parts, Loss::DismaxDagger, 3), &mut Run { cancel, progress: &mut stop_at_half }, &mut |_| {});
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(checkpoint_path(&parts).exists() && !parts.exists());
    let error = run(&job(&parts, Loss::DismaxDagger, 3)).expect_err("a refusal");
    assert!(error.to_string().contains("is an unfinished training"), "{error}");
    let other = TrainJob { resume: true, ..job(&parts, Loss::DismaxDagger, 4) };
    let message = run(&other).expect_err("a refusal").to_string();
    assert!(message.contains("other epochs: 3 instead of 4"), "{message}");
    let streaming = TrainJob { resume: true, memory_bytes: 50_000, ..job(&parts, Loss::DismaxDagger, 3) };
    let message = run(&streaming).expect_err("a refusal").to_string();
    assert!(message.contains("other shuffle buffer: null instead of"), "{message}");
    let held_out = HeldOut::Files(vec![VALIDATION.into()]);
    let message = run(&TrainJob { resume: true, held_out, ..job(&parts, Loss::DismaxDagger, 3) });
    assert!(message.expect_err("a refusal").to_string().contains("other held out"));

    let model = run(&TrainJob { resume: true, ..job(&parts, Loss::DismaxDagger, 3) }).expect("resumed");
    assert_eq!(model.history().expect("trained here").epochs.len(), 3);
    assert_eq!(weights(&whole), weights(&parts));
    let read = |folder: &Path| Model::read(folder).expect("a bundle").calibration().cloned();
    assert_eq!(read(&whole), read(&parts));
}

#[test]
fn any_number_of_workers_gives_the_same_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let trained = [1, 2, 3, 4, 8].map(|workers| {
        let out = folder.path().join(workers.to_string());
        let mut job = job(&out, Loss::DismaxDagger, 2);
        // Four ghost batches a step.
        (job.recipe.batch_size, job.recipe.workers) = (Some(128), Some(workers));
        run(&job).expect("trained");
        weights(&out)
    });
    assert!(trained.iter().all(|weights| *weights == trained[0]));
    // The parts of a batch count: a batch of another size is another training.
    let other = folder.path().join("other");
    let mut job = job(&other, Loss::DismaxDagger, 2);
    job.recipe.batch_size = Some(64);
    run(&job).expect("trained");
    assert_ne!(weights(&other), trained[0]);
}

#[test]
fn a_dataset_that_does_not_fit_in_memory_streams() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("model");
    let mut streams = None;
    let small = TrainJob { memory_bytes: 50_000, ..job(&out, Loss::Dismax, 6) };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    let model = train(&small, &mut run, &mut |event| {
        if let TrainEvent::Begin(plan) = event {
            streams = Some((plan.streaming, plan.train_rows + plan.held_out_rows));
        }
    });
    assert_eq!(streams, Some((true, 866)));
    let accuracy = model.expect("trained").history().expect("trained here").epochs[5].validation_accuracy;
    assert!(accuracy > 0.8, "it must learn: {accuracy}");
}

#[test]
fn damaged_files_are_left_out_whole_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    fs::create_dir(place("data")).expect("a folder");
    fs::copy(TRAIN, place("data/a.parquet")).expect("a copy");
    let mut damaged = fs::read(VALIDATION).expect("a file");
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4000].fill(0xFF);
    fs::write(place("data/b.parquet"), damaged).expect("a file");
    let data = place("data").display().to_string();
    let job = |out: &str| TrainJob { inputs: vec![data.clone()], ..job(&place(out), Loss::Dismax, 1) };
    let message = run(&job("no")).expect_err("a refusal").to_string();
    assert!(message.contains("b.parquet"), "{message}");

    run(&TrainJob { on_bad_file: OnBadFile::Skip, ..job("skipped") }).expect("trained");
    run(&TrainJob { inputs: vec![TRAIN.into()], ..job("without") }).expect("trained");
    assert_eq!(weights(&place("skipped")), weights(&place("without")));

    fs::remove_file(place("data/a.parquet")).expect("it was there");
    let message = run(&TrainJob { on_bad_file: OnBadFile::Skip, ..job("no") }).expect_err("a refusal").to_string();
    assert!(message.contains("b.parquet") && message.contains("every other input"), "{message}");
}

#[test]
fn every_loss_learns_the_digits() {
    let folder = tempfile::tempdir().expect("a folder");
    for loss in Loss::ALL {
        let out = folder.path().join(loss.name());
        let held_out = HeldOut::Files(vec![VALIDATION.into()]);
        let model = run(&TrainJob { held_out, ..job(&out, loss, 6) }).expect("trained");
        let accuracy = model.history().expect("trained here").epochs[5].validation_accuracy;
        assert!(accuracy > 0.8, "{loss}: {accuracy}");
        let calibration = model.calibration().expect("calibrated");
        assert_eq!(calibration.rows, 216);
        assert!(out.join("training.csv").exists() && out.join("training.svg").exists());
    }
}

/// The other architectures: a step or two each, small images, and a bundle that is read again and scores.
#[test]
fn every_network_trains_into_a_bundle() {
    let folder = tempfile::tempdir().expect("a folder");
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values((0..24).map(|row| row % 2)));
    let input = dataset(folder.path(), labels, |_| false);
    for (architecture, size) in [
        (Architecture::Vgg8, 16),
        (Architecture::Resnet34, 16),
        (Architecture::DensenetBc100, 16),
        (Architecture::Wrn2810, 16),
        (Architecture::Resnet18, 32),
    ] {
        let out = folder.path().join(architecture.name());
        let mut job = TrainJob { inputs: vec![input.clone()], ..job(&out, Loss::DismaxDagger, 1) };
        let (epochs, schedule, workers) = (job.recipe.epochs, job.recipe.schedule, Some(1));
        job.recipe = Recipe { epochs, schedule, workers, ..Recipe::new(architecture, Loss::DismaxDagger) };
        job.recipe.size = Some((size, size));
        let trained = run(&job).expect("trained");
        let record = trained.history().expect("trained here").epochs[0];
        assert!(record.train_objective.is_finite() && record.validation_nll.is_finite(), "{architecture}: {record:?}");
        let read = Model::read(&out).expect("a bundle");
        let scorer = read.scorer(tch::Device::Cpu).expect("a scorer");
        read.self_check().verify(&scorer).expect("the same logits");
        assert_eq!(read.input().images().expect("a model of images").preprocessing.width, size);
    }
}

#[test]
fn a_file_named_twice_would_judge_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let twice =
        TrainJob { inputs: vec![TRAIN.into(), TRAIN.into()], ..job(&folder.path().join("model"), Loss::Dismax, 1) };
    let message = run(&twice).expect_err("a refusal").to_string();
    assert!(message.contains("train.parquet is named twice"), "{message}");
}

#[test]
fn options_that_cannot_be_are_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut job = job(&folder.path().join("model"), Loss::Dismax, 1);
    job.recipe.weight_decay = Some(-1.0);
    let mut heard = 0;
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| heard += 1 };
    let message = train(&job, &mut run, &mut |_| {}).expect_err("a refusal").to_string();
    assert!(message.contains("weight decay") && heard == 0, "{message}");
}

/// A Parquet file of 8x8 images with these labels; an empty image where `broken` says so.
fn dataset(folder: &Path, labels: ArrayRef, broken: impl Fn(usize) -> bool) -> String {
    let png = {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(8, 8).write_to(&mut bytes, image::ImageFormat::Png).expect("a PNG");
        bytes.into_inner()
    };
    let images = (0..labels.len()).map(|row| Some(if broken(row) { &[][..] } else { &png[..] }));
    let images: ArrayRef = Arc::new(BinaryArray::from_iter(images));
    let batch =
        RecordBatch::try_from_iter_with_nullable([("image", images, true), ("label", labels, true)]).expect("a batch");
    let path = folder.join("data.parquet").display().to_string();
    let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
    let mut writer = DatasetWriter::create(&path, &batch.schema(), &options).expect("a writer");
    writer.write(&batch).expect("written");
    writer.finish().expect("finished");
    path
}

fn refusal(input: String) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("model");
    let error =
        run(&TrainJob { inputs: vec![input], ..job(&out, Loss::Dismax, 1) }).expect_err("a refusal").to_string();
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing stays behind");
    error
}

#[test]
fn data_that_cannot_be_learnt_from_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let numbers = |labels: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(labels)) };
    let make = |labels, broken: fn(usize) -> bool| refusal(dataset(folder.path(), labels, broken));

    let message = make(numbers(vec![Some(4); 30]), |_| false);
    assert!(message.contains("belong to the class \"4\"") && message.contains("at least two"), "{message}");
    let message = make(numbers(vec![]), |_| false);
    assert!(message.contains("no rows"), "{message}");
    let message = make(numbers(vec![None; 5]), |_| false);
    assert!(message.contains("null"), "{message}");
    let message = make(numbers(vec![Some(0), Some(-1), Some(1)]), |_| false);
    assert!(message.contains("row 1") && message.contains("-1 is outside"), "{message}");
    let message = make(numbers(vec![Some(0), Some(123_456_789)]), |_| false);
    assert!(message.contains("123456789"), "{message}");
    let message = make(numbers((0..40).map(|row| Some(row % 2)).collect()), |_| true);
    assert!(message.contains("no row"), "{message}");
    let floats: ArrayRef = Arc::new(arrow::array::Float32Array::from(vec![0.5, 1.0]));
    let message = make(floats, |_| false);
    assert!(message.contains("label 0.5 is not a whole number"), "{message}");
}

#[test]
fn rows_without_image_or_label_are_left_out_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let labels: ArrayRef = Arc::new(Int64Array::from_iter((0..60).map(|row| (row != 5).then_some(row % 2))));
    let input = dataset(folder.path(), labels, |row| row == 7 || row == 8);
    let out = folder.path().join("model");
    let mut seen = None;
    let job = TrainJob { inputs: vec![input], ..job(&out, Loss::Dismax, 1) };
    // Six held-out rows are too few for thresholds: the weights are kept, the model says that it is not calibrated.
    let mut uncalibrated = false;
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    let model = train(&job, &mut run, &mut |event| match event {
        TrainEvent::Begin(plan) => {
            assert_eq!((plan.held_out_rows, plan.min_calibration_rows), (6, 19));
            seen = Some((plan.left_out.rows, plan.left_out.example.clone(), plan.train_rows + plan.held_out_rows));
        }
        TrainEvent::Uncalibrated(error) => uncalibrated = error.to_string().contains("at least 19 rows"),
        _ => {}
    });
    let (left_out, example, rows) = seen.expect("an event");
    assert_eq!((left_out, rows), (3, 57));
    assert!(example.expect("an example").contains("row 5: the label is null"));
    assert!(uncalibrated && model.expect("trained").calibration().is_none());
}

#[test]
fn a_learning_rate_that_explodes_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut job = job(&folder.path().join("model"), Loss::Softmax, 2);
    job.recipe.learning_rate = Some(1e30);
    let message = run(&job).expect_err("a refusal").to_string();
    assert!(message.contains("no longer a finite number in epoch 1"), "{message}");
}

#[test]
fn batches_too_small_to_mix_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut job = job(&folder.path().join("model"), Loss::DismaxDagger, 1);
    job.recipe.batch_size = Some(4);
    let message = run(&job).expect_err("a refusal").to_string();
    assert!(message.contains("needs batches of at least 8 rows"), "{message}");
}
