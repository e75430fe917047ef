//! What a bundle keeps of features: of training and calibration rows, and of examples of unknown images.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use common::bundles::{edit, refusal, sign_again, written};
use common::models;
use dismax::calibration::{CalibrationFeatures, CalibrationOptions, CalibrationRow, FeatureMoments, UnknownExamples};
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::evaluate::{DatasetLogits, unknown_examples};
use dismax::metrics::LabelledLogits;
use dismax::model::{HeldOutFeatures, Model};
use dismax::run::Run;
use dismax::score::{RowOutput, Score};
use dismax::stage::{Stage, StageOptions};
use dismax::tta::Tta;
use dismax::{Device, Error};
use half::f16;
use image::{ImageFormat, RgbImage};

/// Features of a made-up row.
fn features(row: usize, width: usize) -> Vec<f32> {
    (0..width).map(|at| ((row * 31 + at * 17) % 97) as f32 / 97.0).collect()
}

/// Logits of a made-up row of three classes, of which one in five is wrong.
fn logits(row: usize) -> Vec<f32> {
    let favoured = (row + usize::from(row.is_multiple_of(5))) % 3;
    (0..3).map(|class| -2.0 + (row * 37 % 101) as f32 / 101.0 + f32::from(u8::from(class == favoured))).collect()
}

/// A model that knows features of its training and calibration rows.
fn with_features() -> Model {
    let mut model = models::uncalibrated();
    let width = model.feature_width();
    let features = |row: usize| features(row, width);
    let mut moments = FeatureMoments::new(model.input().stages(), 3);
    for row in 0..300 {
        moments.add(RowOutput { logits: &logits(row), features: Some(&features(row)) });
    }
    model.set_feature_statistics(moments.finish().expect("moments")).expect("of this network");
    model
}

/// Calibrates on made-up rows.
fn calibrate(model: &mut Model, score: Score) -> dismax::Result<()> {
    let width = model.feature_width();
    let by = model.feature_score(score)?.expect("a score of features");
    let mut rows = CalibrationFeatures::new(width);
    let (mut all, mut scores) = (Vec::new(), Vec::new());
    for row in 300..400 {
        let (logits, features) = (logits(row), features(row, width));
        let score = by.of(RowOutput { logits: &logits, features: Some(&features) });
        let halves: Vec<f16> = features.iter().map(|value| f16::from_f32(*value)).collect();
        rows.push(&halves, CalibrationRow { class: row % 3, score });
        all.extend(logits);
        scores.push(score);
    }
    let labels: Vec<i64> = (300..400).map(|row| row % 3).collect();
    let labelled = LabelledLogits::try_new(&all, 3, &labels).expect("logits");
    let options = CalibrationOptions { score, ..CalibrationOptions::default() };
    model.calibrate(&labelled, Some(HeldOutFeatures { rows, scores: Some(&scores) }), &options, "made-up rows")
}

#[test]
fn what_is_known_of_features_survives_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model");
    let mut original = with_features();
    calibrate(&mut original, Score::MdsEarly).expect("calibration");
    original.write(&path, false).expect("written");
    let read = Model::read(&path).expect("read");
    assert_eq!(read.feature_statistics(), original.feature_statistics());
    assert_eq!(read.calibration(), original.calibration());

    let statistics = read.feature_statistics().expect("statistics");
    let mut features = vec![0.0; read.feature_width()];
    let row = statistics.calibration_row(7, &mut features);
    let output = RowOutput { logits: &[-1.0, -2.0, -1.5], features: Some(&features) };
    let (scores, _) = read.calibration().expect("calibrated").apply(output, &mut [0.0; 3]).expect("finite scores");
    let early = read.feature_score(Score::MdsEarly).expect("features").expect("a score of features");
    assert_eq!(scores.score, early.of(output));
    assert_eq!((statistics.calibration_rows(), row.class), (100, 1));
    let without = RowOutput { features: None, ..output };
    assert!(read.calibration().expect("calibrated").apply(without, &mut [0.0; 3]).is_err());

    let mut moments = FeatureMoments::new(&[4], 3);
    for row in 0..9u8 {
        moments.add(RowOutput { logits: &[0.0, 1.0, 2.0], features: Some(&[f32::from(row); 4]) });
    }
    let error = models::uncalibrated().set_feature_statistics(moments.finish().expect("moments"));
    assert!(error.expect_err("of another network").to_string().contains("another network"));
    fs::remove_file(path.join("features.safetensors")).expect("removed");
    assert!(refusal(&path).contains("features.safetensors is missing"), "{}", refusal(&path));
}

/// What says that features are averages over mirror images is the calibration: without one they would be taken for
/// those of single images.
#[test]
fn features_of_averages_do_not_outlive_what_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    for (tta, is_kept) in [(Tta::None, true), (Tta::Flip, false)] {
        let mut model = with_features();
        let statistics = model.feature_statistics().cloned().expect("features");
        model.set_tta(tta).expect("images");
        model.set_feature_statistics((*statistics).clone()).expect("of this network");
        let place = folder.path().join(tta.name());
        model.write(&place, false).expect("written");
        let read = Model::read(&place).expect("a bundle");
        assert_eq!((read.tta(), read.feature_statistics().is_some()), (Tta::None, is_kept), "{tta}");
    }
}

#[test]
fn features_that_do_not_fit_are_refused() {
    let (_folder, path) = written();
    let mut model = with_features();
    model.set_unknown_examples(Some(examples(&model, 30))).expect("examples");
    model.write(&path, true).expect("written");
    let file = path.join("features.safetensors");
    let whole = fs::read(&file).expect("read");
    let mut longer = whole.clone();
    // The header's first shape is that of the classes.
    let at = whole.windows(7).position(|part| part == b"[3,112]").expect("the means' shape");
    longer[at + 1] = b'9';
    // A digest that is there twice: there are fewer examples than their moments are of.
    let mut repeated = whole.clone();
    let at = whole.windows(16).position(|part| part == [3; 16]).expect("a digest");
    repeated[at..at + 16].fill(4);
    for damaged in [&longer[..], &whole[..whole.len() - 8], &repeated, b"{}"] {
        fs::write(&file, damaged).expect("written");
        sign_again(&path);
        assert!(refusal(&path).contains("features.safetensors"), "{}", refusal(&path));
    }
}

/// So many made-up examples of unknown images.
fn examples(model: &Model, count: u8) -> UnknownExamples {
    let mut examples = UnknownExamples::new(model.feature_width());
    for number in 0..count {
        let features: Vec<f32> = features(500 + usize::from(number), model.feature_width());
        examples.add([number; 16], &features.iter().map(|value| 1.0 + value / 3.0).collect::<Vec<f32>>());
    }
    examples
}

#[test]
fn examples_of_unknown_images_survive_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model");
    let mut original = with_features();
    let error = calibrate(&mut original, Score::MdsUnknown).expect_err("there are no examples");
    assert!(matches!(error, Error::NoUnknownExamples { score: "mds+unknown" }), "{error}");
    original.set_unknown_examples(Some(examples(&original, 30))).expect("examples");
    calibrate(&mut original, Score::MdsUnknown).expect("calibration");
    original.write(&path, false).expect("written");
    let mut read = Model::read(&path).expect("read");
    assert_eq!(read.feature_statistics(), original.feature_statistics());
    assert_eq!(read.calibration(), original.calibration());
    assert_eq!((read.unknown_examples(), read.config().format_version), (30, 5));
    let card = fs::read_to_string(path.join("README.md")).expect("a card");
    assert!(card.contains("keeps what 30 examples of unknown images have in common"), "{card}");
    let like_training = features(7, read.feature_width());
    let like_examples: Vec<f32> = like_training.iter().map(|value| 1.0 + value / 3.0).collect();
    let p_value = |features: &[f32]| {
        let output = RowOutput { logits: &logits(7), features: Some(features) };
        read.calibration().expect("calibrated").apply(output, &mut [0.0; 3]).expect("finite scores").1.p_value
    };
    assert!(p_value(&like_examples) < 0.02 && p_value(&like_training) > 0.05);

    // They stay where the training images are read again, and until they are replaced or forgotten.
    let again = with_features().feature_statistics().expect("statistics").as_ref().clone();
    read.set_feature_statistics(again).expect("of this network");
    calibrate(&mut read, Score::MdsEarly).expect("calibration");
    assert_eq!(read.unknown_examples(), 30);
    read.set_unknown_examples(Some(examples(&read, 5))).expect("examples");
    assert_eq!(read.unknown_examples(), 5);
    read.set_unknown_examples(None).expect("forgotten");
    assert_eq!(read.unknown_examples(), 0);

    read.write(&path, true).expect("written");
    edit(&path, "calibration.json", "\"score\":\"mds+early\"", "\"score\":\"mds+unknown\"");
    let message = refusal(&path);
    assert!(message.contains("features.safetensors: the score mds+unknown needs examples"), "{message}");
}

#[test]
fn examples_need_features_to_be_compared_with() {
    let mut without = models::uncalibrated();
    for score in [Score::MdsEarly, Score::MdsUnknown] {
        let error = without.feature_score(score).expect_err("nothing is known");
        assert!(
            matches!(error, Error::NoTrainingFeatures { .. }) && error.to_string().contains(score.name()),
            "{error}"
        );
    }
    let error = without.set_unknown_examples(Some(examples(&without, 3))).expect_err("nothing is known");
    assert!(matches!(error, Error::NoTrainingFeatures { .. }), "{error}");
    assert!(without.feature_score(Score::Mmles).expect("nothing is needed").is_none());
    let mut model = with_features();
    let empty = UnknownExamples::new(model.feature_width());
    assert!(
        model.set_unknown_examples(Some(empty)).is_err()
            && model.set_unknown_examples(Some(UnknownExamples::new(3))).is_err()
    );
}

/// An image of noise around a colour that the seed decides.
fn picture(seed: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(8, 8, |x, y| {
        let noise = (x * 31 + y * 57 + seed * 13) % 41;
        image::Rgb([seed % 7 * 30, seed % 5 * 40, 90].map(|value| (value + noise) as u8))
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("a PNG");
    bytes.into_inner()
}

fn write(folder: &Path, name: &str, images: Vec<Vec<u8>>) -> Dataset {
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values((0..images.len() as i64).map(|row| row % 3)));
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    let record_batch = RecordBatch::try_from_iter([("image", images), ("label", labels)]).expect("a record batch");
    let path = folder.join(name).display().to_string();
    let mut writer = DatasetWriter::create(&path, &record_batch.schema(), &WriteOptions::default()).expect("a file");
    writer.write(&record_batch).expect("rows");
    writer.finish().expect("a dataset");
    Dataset::open(&[path]).expect("rows")
}

#[test]
fn examples_are_left_out_of_what_they_are_measured_and_calibrated_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut model = with_features();
    let options = StageOptions { device: Device::Cpu, batch_rows: 16, workers: 2, ..StageOptions::default() };
    let stage = |model: &Model| Stage::try_new(model.clone(), &options).expect("a stage");
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
    // The third image is the second again, and the last is none.
    let mut images: Vec<Vec<u8>> = [1, 2, 2, 3].map(picture).to_vec();
    images.push(b"not an image".to_vec());
    let unknown = write(folder.path(), "unknown.parquet", images);
    let examples = unknown_examples(&stage(&model), &unknown, &mut run).expect("examples");
    assert_eq!(examples.len(), 3);
    let broken = write(folder.path(), "broken.parquet", vec![Vec::new(), b"not an image".to_vec()]);
    let error = unknown_examples(&stage(&model), &broken, &mut run).expect_err("no image").to_string();
    assert!(error.contains("broken.parquet") && error.contains("none of 2"), "{error}");

    let rows = write(folder.path(), "rows.parquet", (0..20).map(picture).collect());
    let label = rows.label_column(None).expect("labels");
    let before = DatasetLogits::read(&stage(&model), &rows, Some(&label), &mut run).expect("logits");
    assert_eq!((before.rows(), before.scored(), before.examples()), (20, 20, 0));
    assert!(before.scores(Score::MdsEarly).is_some() && before.scores(Score::MdsUnknown).is_none());

    let stage_before = stage(&model);
    model.set_unknown_examples(Some(examples)).expect("examples");
    let statistics = model.feature_statistics().expect("statistics").clone();
    let held_out = DatasetLogits::read_held_out(&stage_before, &rows, &label, Some(&statistics), &mut run);
    let measured = DatasetLogits::read(&stage(&model), &rows, Some(&label), &mut run).expect("logits");
    for collected in [held_out.expect("logits"), measured] {
        assert_eq!((collected.rows(), collected.scored(), collected.failed(), collected.examples()), (20, 17, 0, 3));
        assert_eq!(collected.labelled().expect("labels").rows(), 17);
        assert_eq!(collected.scores(Score::MdsEarlyUnknown).expect("there are examples").len(), 17);
    }
}
