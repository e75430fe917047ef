//! Evaluation: from datasets to figures, with labels in every form, failed rows and sets that cannot be used.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use common::models;
use dismax::calibration::CalibrationOptions;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, LabelColumn, WriteOptions};
use dismax::evaluate::{DatasetLogits, Evaluation};
use dismax::metrics::{
    ClassificationMetrics, DEFAULT_BINS, LabelledLogits, OodMetrics, Reliability, ece_interval, share_interval,
};
use dismax::model::Model;
use dismax::run::{Progress, Run};
use dismax::score::Score;
use dismax::stage::{Stage, StageOptions};
use dismax::{Device, Error, Result, RowErrorCode};
use image::{ImageFormat, RgbImage};

/// An image that `seed` decides: busy, or of few tones.
fn picture(seed: usize, busy: bool) -> RgbImage {
    let step = if busy { 97 } else { 3 };
    RgbImage::from_fn(8, 8, |x, y| {
        let value = |channel: usize| {
            let wave = seed * 31 + channel * 50 + x as usize * step;
            (wave ^ (y as usize * seed)) as u8
        };
        image::Rgb([value(0), value(1), value(2)])
    })
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("a PNG");
    bytes.into_inner()
}

/// Writes rows of images and, where given, labels; the text goes into the schema's metadata for Hugging Face.
fn write(folder: &Path, name: &str, images: &[Option<Vec<u8>>], labels: Option<ArrayRef>, classes: &[&str]) -> String {
    let images: ArrayRef = Arc::new(BinaryArray::from_iter(images));
    let mut columns = vec![("image", images)];
    columns.extend(labels.map(|labels| ("label", labels)));
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let metadata = match classes {
        [] => HashMap::new(),
        names => {
            let features =
                serde_json::json!({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}});
            HashMap::from([("huggingface".to_owned(), features.to_string())])
        }
    };
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let record_batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("a record batch");
    let path = folder.join(name).display().to_string();
    let mut writer = DatasetWriter::create(&path, &schema, &WriteOptions::default()).expect("a file");
    writer.write(&record_batch).expect("rows");
    writer.finish().expect("a dataset");
    path
}

fn stage(model: &Model) -> Stage {
    let options = StageOptions { device: Device::Cpu, batch_rows: 16, workers: 2, ..StageOptions::default() };
    Stage::try_new(model.clone(), &options).expect("a stage")
}

/// Reads a file with the label column that it has, if any.
fn collect(stage: &Stage, path: &str) -> Result<DatasetLogits> {
    let dataset = Dataset::open(&[path])?;
    let labels = dataset.schema().column_with_name("label").map(|_| LabelColumn::find(dataset.schema(), None));
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
    DatasetLogits::read(stage, &dataset, labels.transpose()?.as_ref(), &mut run)
}

fn good(rows: std::ops::Range<usize>, busy: bool) -> Vec<Option<Vec<u8>>> {
    rows.map(|row| Some(png(&picture(row, busy)))).collect()
}

/// A model calibrated on rows like those that are read later, two of three labelled as it predicts.
fn calibrated_on(model: &Model, collected: &DatasetLogits) -> Model {
    let logits: Vec<f32> = collected.logits().flatten().copied().collect();
    let predicted = |logits: &[f32]| logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("classes").0;
    let labels: Vec<i64> =
        collected.logits().enumerate().map(|(row, logits)| ((predicted(logits) + row % 3 / 2) % 3) as i64).collect();
    let rows = LabelledLogits::try_new(&logits, 3, &labels).expect("logits");
    let mut model = model.clone();
    model.calibrate(&rows, None, &CalibrationOptions::default(), "generated rows").expect("calibration");
    model
}

#[test]
fn figures_are_those_of_the_metrics_on_the_logits() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = models::uncalibrated();
    let stage = self::stage(&model);
    let calibration_rows = write(folder.path(), "calibration.parquet", &good(1000..1100, true), None, &[]);
    let model = calibrated_on(&model, &collect(&stage, &calibration_rows).expect("logits"));
    let calibration = model.require_calibration().expect("calibrated").clone();
    let stage = self::stage(&model);

    // 90 rows: row 4 is null, rows 7 and 50 are no images, rows 20 to 24 have no label.
    let mut images = good(0..90, true);
    images[4] = None;
    images[7] = Some(b"not an image".to_vec());
    images[50] = Some(b"not an image".to_vec());
    let labels = Int64Array::from_iter((0..90).map(|row| (!(20..25).contains(&row)).then_some(row % 3)));
    let test = write(folder.path(), "test.parquet", &images, Some(Arc::new(labels)), &[]);
    let mut other_images = good(200..240, false);
    other_images[0] = Some(Vec::new());
    let other = write(folder.path(), "other.parquet", &other_images, None, &[]);

    let in_dist = collect(&stage, &test).expect("logits");
    assert_eq!((in_dist.rows(), in_dist.scored(), in_dist.failed(), in_dist.unlabelled()), (90, 87, 3, 5));
    let errors = BTreeMap::from([(RowErrorCode::NullImage, 1), (RowErrorCode::UnknownFormat, 2)]);
    assert_eq!(in_dist.errors(), &errors);

    // What the network gives when it is asked without stage and files.
    let scorer = model.scorer(tch::Device::Cpu).expect("a scorer");
    let is_good = |row: &usize| ![4, 7, 50].contains(row);
    let labelled: Vec<usize> = (0..90).filter(is_good).filter(|row| !(20..25).contains(row)).collect();
    let expected = labelled.iter().copied().chain(20..25);
    for (row, logits) in expected.zip(in_dist.logits()) {
        let direct = scorer.logits(picture(row, true).as_raw()).expect("logits");
        for (got, expected) in logits.iter().zip(direct) {
            assert!((got - expected).abs() < 1e-4, "row {row}: {got} instead of {expected}");
        }
    }

    let ood = vec![("other".to_owned(), collect(&stage, &other).expect("logits"))];
    let evaluation = Evaluation::try_new(&in_dist, &ood).expect("an evaluation");
    let labels: Vec<i64> = labelled.iter().map(|row| (row % 3) as i64).collect();
    let logits: Vec<f32> = in_dist.logits().take(labels.len()).flatten().copied().collect();
    let rows = LabelledLogits::try_new(&logits, 3, &labels).expect("logits");
    let figures = &evaluation.in_dist;
    let temperature = calibration.temperature;
    assert_eq!(figures.before, ClassificationMetrics::of(&rows, 1.0).expect("metrics"));
    assert_eq!(figures.after, ClassificationMetrics::of(&rows, temperature).expect("metrics"));
    assert_eq!(figures.after.rows, 82);
    let right = rows.correct().iter().filter(|&&correct| correct).count() as u64;
    assert_eq!(figures.accuracy.value, right as f64 / 82.0);
    assert_eq!(figures.accuracy.interval, share_interval(right, 82, 0.95).expect("an interval"));
    let confidences = rows.confidences(temperature);
    let bins = Reliability::equal_width(&confidences, &rows.correct(), DEFAULT_BINS).expect("bins");
    assert_eq!(figures.reliability_after, bins);
    assert_eq!(figures.ece.value, figures.after.ece);
    let interval = ece_interval(&confidences, &rows.correct(), DEFAULT_BINS, 1000, 0.95, 0).expect("an interval");
    assert_eq!(figures.ece.interval, interval);
    assert_eq!(figures.errors, BTreeMap::from([("null_image".to_owned(), 1), ("unknown_format".to_owned(), 2)]));

    // Flags as the scored columns have them: by p-value, and so by the threshold.
    let threshold = evaluation.ood_score_threshold.expect("one threshold");
    for (flagged, set) in [(&figures.flagged, &in_dist), (&evaluation.ood[0].flagged, &ood[0].1)] {
        let scores = set.scores(calibration.score).expect("a score of logits");
        let is_ood =
            |score: f32| calibration.scores.verdict(0, score, calibration.alpha).expect("finite scores").is_ood;
        let (count, of) = (scores.iter().filter(|&&score| is_ood(score)).count() as u64, scores.len() as u64);
        assert_eq!((flagged.rows, flagged.share), (count, count as f64 / of as f64));
        assert_eq!(flagged.interval, share_interval(count, of, 0.95).expect("an interval"));
        assert_eq!(scores.iter().filter(|&&score| -score >= threshold).count() as u64, count);
    }
    let set = &evaluation.ood[0];
    assert_eq!((set.name.as_str(), set.rows, set.scored, set.failed), ("other", 40, 39, 1));
    assert_eq!(set.errors, BTreeMap::from([("empty_image".to_owned(), 1)]));
    assert_eq!(set.scores.len(), Score::OF_LOGITS.len(), "nothing is known of this model's features");
    for score in Score::OF_LOGITS {
        let scores = |set: &DatasetLogits| set.scores(score).expect("a score of logits");
        let expected = OodMetrics::of_scores(&scores(&in_dist), &scores(&ood[0].1)).expect("metrics");
        assert_eq!(set.scores[score.name()], expected, "{score}");
        assert_eq!((expected.in_dist_rows, expected.ood_rows), (87, 39));
    }
    let histogram = &evaluation.ood_score_histogram;
    assert_eq!((histogram.in_dist.iter().sum::<u64>(), histogram.ood[0].iter().sum::<u64>()), (87, 39));
}

#[test]
fn the_names_in_the_json_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = models::calibrated();
    let stage = stage(&model);
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values((0..12).map(|row| row % 3)));
    let test = write(folder.path(), "test.parquet", &good(0..12, true), Some(labels), &[]);
    let test = collect(&stage, &test).expect("logits");
    let evaluation = Evaluation::try_new(&test, &[("same".into(), test.clone())]).expect("an evaluation");

    let json = serde_json::to_value(&evaluation).expect("JSON");
    assert_eq!(serde_json::from_value::<Evaluation>(json.clone()).expect("an evaluation"), evaluation);
    for path in [
        "/model_digest",
        "/temperature",
        "/score",
        "/alpha",
        "/ood_score_threshold",
        "/in_dist/rows",
        "/in_dist/failed",
        "/in_dist/errors",
        "/in_dist/unlabelled",
        "/in_dist/accuracy/value",
        "/in_dist/ece/interval/upper",
        "/in_dist/before/nll",
        "/in_dist/after/brier",
        "/in_dist/after/mce",
        "/in_dist/after/ace",
        "/in_dist/after/class_wise_ece",
        "/in_dist/flagged/share",
        "/in_dist/reliability_before/bins/0/accuracy",
        "/in_dist/reliability_after/bins/14/count",
        "/ood/0/name",
        "/ood/0/flagged/interval/lower",
        "/ood/0/scores/mps/auroc",
        "/ood/0/scores/mmles/fpr95",
        "/ood/0/scores/mmles/tnr95",
        "/ood/0/scores/mmles/aupr_in",
        "/ood/0/scores/mmles/aupr_out",
        "/ood/0/scores/mmles/detection_accuracy",
    ] {
        assert!(json.pointer(path).is_some(), "{path} is not in {json}");
    }
    assert_eq!(json["score"], "mmles");
    // A set cannot be told from itself.
    assert_eq!(evaluation.ood[0].scores["mmles"].auroc, 0.5);
}

#[test]
fn labels_go_by_name_where_the_dataset_has_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = models::calibrated();
    let stage = stage(&model);
    let classes_of = |name: &str, labels: ArrayRef, names: &[&str]| -> Result<Vec<usize>> {
        let images = good(0..labels.len(), true);
        let collected = collect(&stage, &write(folder.path(), name, &images, Some(labels), names))?;
        Ok(collected.labelled()?.iter().map(|(_, label)| label).collect())
    };
    let numbers = |labels: &[i64]| Arc::new(Int64Array::from(labels.to_vec())) as ArrayRef;
    let names = |labels: &[&str]| Arc::new(StringArray::from(labels.to_vec())) as ArrayRef;

    // The model's classes are cat, dog, ship.
    assert_eq!(classes_of("names.parquet", names(&["ship", "cat"]), &[]).expect("classes"), [2, 0]);
    assert_eq!(classes_of("numbers.parquet", numbers(&[2, 0, 1]), &[]).expect("classes"), [2, 0, 1]);
    let reordered = classes_of("reordered.parquet", numbers(&[0, 1, 2]), &["ship", "bird", "cat"]);
    let message = reordered.expect_err("a bird").to_string();
    assert!(message.contains("reordered.parquet, row 1: label 1 (\"bird\")"), "{message}");
    let reordered = classes_of("reordered2.parquet", numbers(&[0, 2]), &["ship", "bird", "cat"]);
    assert_eq!(reordered.expect("classes"), [2, 0]);
    let foreign = classes_of("foreign.parquet", numbers(&[0, 2]), &["Katze", "Hund", "Schiff"]);
    assert_eq!(foreign.expect("classes"), [0, 2], "no name in common: the numbers are what is left");

    for (name, labels, expected) in [
        ("outside.parquet", numbers(&[0, 1, 3]), "outside.parquet, row 2: label 3 is outside the classes 0 to 2"),
        ("minus.parquet", numbers(&[0, -1]), "row 1: label -1 is outside"),
        ("unknown.parquet", names(&["cat", "bird"]), "unknown.parquet, row 1: label \"bird\" is not among"),
    ] {
        let message = classes_of(name, labels, &[]).expect_err("not a class").to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn sets_that_cannot_be_evaluated_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = models::calibrated();
    let stage = stage(&model);
    let message = |result: Result<Evaluation>| result.expect_err("no evaluation").to_string();

    let plain = write(folder.path(), "plain.parquet", &good(0..4, true), None, &[]);
    let plain = collect(&stage, &plain).expect("logits");
    assert_eq!((plain.scored(), plain.unlabelled()), (4, 4));
    let text = message(Evaluation::try_new(&plain, &[]));
    assert!(text.contains("need one"), "{text}");

    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None; 4]));
    let mut images = good(0..4, true);
    images[1] = None;
    let unlabelled = write(folder.path(), "nulls.parquet", &images, Some(nulls), &[]);
    let unlabelled = collect(&stage, &unlabelled).expect("logits");
    let text = message(Evaluation::try_new(&unlabelled, &[]));
    assert!(text.contains("none of 4 rows can be used and has a label; 1 failed with null_image"), "{text}");

    let labels: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 0]));
    let labels_again = Arc::clone(&labels);
    let test = write(folder.path(), "test.parquet", &good(0..4, true), Some(labels), &[]);
    let test = collect(&stage, &test).expect("logits");
    let rotten = write(folder.path(), "rotten.parquet", &[None, Some(b"?".to_vec()), None], None, &[]);
    let rotten = collect(&stage, &rotten).expect("no logits");
    let text = message(Evaluation::try_new(&test, &[("rotten".into(), rotten)]));
    assert!(text.contains("rotten: none of its 3 rows could be scored; 2 failed with null_image"), "{text}");

    let uncalibrated = write(folder.path(), "again.parquet", &good(0..4, true), Some(labels_again), &[]);
    let uncalibrated = collect(&self::stage(&models::uncalibrated()), &uncalibrated).expect("logits");
    let text = message(Evaluation::try_new(&uncalibrated, &[]));
    assert!(text.contains("not calibrated"), "{text}");
    assert!(Evaluation::try_new(&test, &[]).expect("no OOD set is needed").ood.is_empty());
}

#[test]
fn progress_is_heard_and_a_stop_obeyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = models::calibrated();
    let stage = stage(&model);
    let dataset = Dataset::open(&[write(folder.path(), "rows.parquet", &good(0..100, true), None, &[])]).expect("rows");
    let mut heard = Vec::new();
    let cancel = Cancel::default();
    let mut progress = |progress: Progress| heard.push((progress.rows, progress.of));
    let mut run = Run { cancel: cancel.clone(), progress: &mut progress };
    DatasetLogits::read(&stage, &dataset, None, &mut run).expect("logits");
    assert!(heard.len() > 1 && heard.is_sorted(), "{heard:?}");
    assert_eq!(heard.last(), Some(&(100, Some(100))));

    let mut done = 0;
    let mut progress = |progress: Progress| {
        done = progress.rows;
        cancel.cancel();
    };
    let stopped =
        DatasetLogits::read(&stage, &dataset, None, &mut Run { cancel: cancel.clone(), progress: &mut progress });
    assert!(matches!(stopped, Err(Error::Cancelled)) && done < 100, "{stopped:?} after {done} rows");
}
