//! Unknown images from end to end: a model that keeps features, images of a new kind, examples and marks of them.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{Float32Type, UInt64Type};
use common::models;
use dismax::Device;
use dismax::calibration::{CalibrationFeatures, CalibrationOptions, CalibrationRow, FeatureMoments};
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::evaluate::unknown_examples;
use dismax::metrics::LabelledLogits;
use dismax::model::{HeldOutFeatures, Model};
use dismax::run::Run;
use dismax::score::{RowOutput, Score};
use dismax::stage::{Stage, StageOptions, WithFeatures};
use dismax_audit::{AuditInputs, AuditOptions, AuditSummary, Kind, Marks, UnknownFigures, UnknownMethod, audit};
use half::f16;
use image::{ImageFormat, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rows that stand for training and for calibration images.
const TRAINING: usize = 900;
const CALIBRATION: usize = 400;
/// Known images that are audited, and unknown ones behind them.
const KNOWN: usize = 400;
const UNKNOWN: usize = 40;

/// A patch of one colour with some noise, or one with stripes.
fn picture(seed: u64, striped: bool) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let colour: [u8; 3] = std::array::from_fn(|_| random.random_range(60..140));
    png(&RgbImage::from_fn(8, 8, |x, _| {
        let stripe: i32 = if striped && x % 2 == 0 { 80 } else { 0 };
        image::Rgb(colour.map(|value| (i32::from(value) + stripe + random.random_range(-30..30)) as u8))
    }))
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("encoded");
    bytes.into_inner()
}

/// A black image with so little noise that it stays one.
fn black(seed: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    png(&RgbImage::from_fn(8, 8, |_, _| image::Rgb(std::array::from_fn(|_| random.random_range(0..6)))))
}

/// Patches of one colour, and striped ones behind them.
fn mixed() -> impl Iterator<Item = Vec<u8>> {
    let known = (0..KNOWN).map(|seed| picture(5000 + seed as u64, false));
    known.chain((0..UNKNOWN).map(|seed| picture(9000 + seed as u64, true)))
}

fn write(folder: &Path, name: &str, images: impl Iterator<Item = Vec<u8>>) -> Dataset {
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    let record_batch = RecordBatch::try_from_iter([("image", images)]).expect("a record batch");
    let path = folder.join(name).display().to_string();
    let mut writer = DatasetWriter::create(&path, &record_batch.schema(), &WriteOptions::default()).expect("a file");
    writer.write(&record_batch).expect("rows");
    writer.finish().expect("a dataset");
    Dataset::open(&[path]).expect("rows")
}

fn stage(model: Model) -> Stage {
    let options = StageOptions { device: Device::Cpu, batch_rows: 64, workers: 2, ..StageOptions::default() };
    Stage::try_new(model, &options).expect("a stage")
}

/// A model with random weights that is calibrated on patches of one colour and keeps their features.
fn model(folder: &Path) -> Model {
    let mut model = models::uncalibrated();
    let patches = (0..TRAINING + CALIBRATION).map(|seed| picture(seed as u64, false));
    let dataset = write(folder, "patches.parquet", patches);
    let stage = stage(model.clone());
    let scan = stage.scan_observed(&dataset, None, Cancel::default(), Arc::new(WithFeatures)).expect("a scan");
    let mut moments = FeatureMoments::new(model.input().stages(), 3);
    let mut calibration = CalibrationFeatures::new(model.feature_width());
    let (mut all, mut labels, mut row) = (Vec::new(), Vec::new(), 0usize);
    for scored in scan {
        let (_, scored) = scored.expect("rows");
        for at in 0..scored.observed().len() {
            let output = scored.output(at).expect("a good image");
            row += 1;
            if row <= TRAINING {
                moments.add(output);
                continue;
            }
            let RowOutput { logits, features } = output;
            let class = (0..3).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).expect("classes");
            let halves: Vec<f16> = features.expect("features").iter().map(|value| f16::from_f32(*value)).collect();
            calibration.push(&halves, CalibrationRow { class, score: Score::Mmles.of_logits(logits) });
            all.extend_from_slice(logits);
            // Wrong in one row of five, so that there is a temperature.
            labels.push((class + usize::from(row.is_multiple_of(5))) as i64 % 3);
        }
    }
    model.set_feature_statistics(moments.finish().expect("moments")).expect("of this network");
    let rows = LabelledLogits::try_new(&all, 3, &labels).expect("logits");
    let features = HeldOutFeatures { rows: calibration, scores: None };
    let options = CalibrationOptions { score: Score::Mmles, ..CalibrationOptions::default() };
    model.calibrate(&rows, Some(features), &options, "patches").expect("calibration");
    model
}

/// A finding of an unknown image: row, q-value and digest.
type Found = (u64, Option<f32>, String);

fn run(stage: &Stage, inputs: &AuditInputs<'_>, out: &Path) -> (AuditSummary, Vec<Found>) {
    let options = AuditOptions { fdr: 0.2, force: true, ..AuditOptions::default() };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
    let summary = audit(stage, inputs, out, &options, &mut run).expect("an audit");
    let table = Dataset::open(&[out.join("findings.parquet").display().to_string()]).expect("a table");
    let mut found = Vec::new();
    for chunk in table.read(1000, None).expect("rows") {
        let batch = chunk.expect("rows").record_batch;
        let (kinds, rows) = (batch["kind"].as_string::<i32>(), batch["row"].as_primitive::<UInt64Type>());
        let (q_values, digests) =
            (batch["q_value"].as_primitive::<Float32Type>(), batch["image_digest"].as_string::<i32>());
        for at in (0..batch.num_rows()).filter(|at| kinds.value(*at) == "unknown") {
            let q_value = q_values.is_valid(at).then(|| q_values.value(at));
            found.push((rows.value(at), q_value, digests.value(at).to_owned()));
        }
    }
    (summary, found)
}

fn unknown(summary: &AuditSummary) -> &UnknownFigures {
    summary.unknown.as_ref().expect("a model was there")
}

#[test]
fn a_new_kind_is_found_marked_and_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = stage(model(folder.path()));
    let dataset = write(folder.path(), "input.parquet", mixed());
    let out = folder.path().join("audit");
    let is_unknown = |row: &u64| *row >= KNOWN as u64;

    let (summary, found) = run(&stage, &AuditInputs::new(&dataset), &out);
    let figures = unknown(&summary);
    assert_eq!((figures.method, figures.has_drifted), (UnknownMethod::Adadetect, false), "{figures:?}");
    assert_eq!(figures.tested, (KNOWN + UNKNOWN) as u64);
    let rows: BTreeSet<u64> =
        found.iter().filter(|(_, q, _)| q.is_some_and(|q| q <= 0.2)).map(|(row, ..)| *row).collect();
    assert_eq!(rows.len() as u64, figures.rejected);
    let right = rows.iter().filter(|row| is_unknown(row)).count();
    assert!(right >= UNKNOWN / 2 && rows.len() <= right + right / 2, "{right} of {}", rows.len());
    assert!(figures.at_least.is_some_and(|at_least| at_least > 0 && at_least <= UNKNOWN as u64), "{figures:?}");
    let first = figures.strangest.first().expect("bounds");
    assert!(first.images == 10 && first.estimated > 8.0, "{first:?}");
    assert!(std::fs::read_to_string(out.join("report.html")).expect("a page").contains("strangest images"));

    // The ten strangest are marked, one of them as known, and an image that is not there.
    let mut strangest = found.clone();
    strangest.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("numbers").then(a.0.cmp(&b.0)));
    let marks = folder.path().join("marks.csv");
    let line = |(at, (_, _, digest)): (usize, &Found)| {
        format!("{digest},unknown,{}\n", if at == 3 { "known" } else { "unknown" })
    };
    let lines: String = strangest[..10].iter().enumerate().map(line).collect();
    std::fs::write(&marks, format!("image_digest,kind,mark\n{lines}{},unknown,known\n", "0".repeat(32)))
        .expect("written");
    let marks = Marks::read(&marks).expect("marks");
    let (summary, found) = run(&stage, &AuditInputs { marks: Some(&marks), ..AuditInputs::new(&dataset) }, &out);
    let figures = unknown(&summary);
    assert_eq!((figures.marked_unknown, figures.marked_known, figures.known_unknown), (9, 1, 9), "{figures:?}");
    assert!(figures.tested <= (KNOWN + UNKNOWN - 10) as u64, "{figures:?}");
    assert!(
        summary.warnings.iter().any(|warning| warning.starts_with("Of 11 marked images 1 ")),
        "{:?}",
        summary.warnings
    );
    let reviewed: Vec<u64> = found.iter().filter(|(_, q, _)| q.is_none()).map(|(row, ..)| *row).collect();
    assert_eq!(reviewed.len(), 9, "marked as unknown: a finding, and not under test");
    assert!(!found.iter().any(|(row, ..)| *row == strangest[3].0), "marked as known");
    let newly = found.iter().filter(|(row, q, _)| q.is_some() && is_unknown(row)).count();
    assert!(newly >= UNKNOWN / 3, "{newly}");

    let examples = write(folder.path(), "examples.parquet", (0..30).map(|seed| picture(20_000 + seed, true)));
    let (summary, found) = run(&stage, &AuditInputs { unknown: Some(&examples), ..AuditInputs::new(&dataset) }, &out);
    assert_eq!(unknown(&summary).known_unknown, 30);
    let right = found.iter().filter(|(row, ..)| is_unknown(row)).count();
    assert!(right >= UNKNOWN * 3 / 4, "{right}");

    // Examples that the model keeps do the same, and count once where they are given as well.
    let mut model = stage.model().as_ref().clone();
    let mut progress = Run { cancel: Cancel::default(), progress: &mut |_| () };
    let kept = unknown_examples(&stage, &examples, &mut progress).expect("examples");
    model.set_unknown_examples(Some(kept)).expect("of this network");
    let stage = self::stage(model);
    for unknown in [None, Some(&examples)] {
        let (again, found_again) = run(&stage, &AuditInputs { unknown, ..AuditInputs::new(&dataset) }, &out);
        assert_eq!(again.unknown, summary.unknown);
        assert_eq!(found_again, found);
    }
    // An example among the audited images is marked by it.
    let dataset = write(folder.path(), "with_example.parquet", mixed().chain([picture(20_000, true)]));
    let (summary, found) = run(&stage, &AuditInputs::new(&dataset), &out);
    assert_eq!((unknown(&summary).marked_unknown, unknown(&summary).known_unknown), (1, 30), "it counts once");
    assert!(found.iter().any(|(row, q_value, _)| *row == (KNOWN + UNKNOWN) as u64 && q_value.is_none()));
}

#[test]
fn blank_images_change_nothing_for_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = stage(model(folder.path()));
    let out = folder.path().join("audit");
    let dataset = write(folder.path(), "input.parquet", mixed());
    let (alone, found_alone) = run(&stage, &AuditInputs::new(&dataset), &out);
    let with_blank = mixed().chain((0..60).map(black));
    let dataset = write(folder.path(), "blank.parquet", with_blank);
    let (summary, found) = run(&stage, &AuditInputs::new(&dataset), &out);
    assert_eq!(summary.of(Kind::NearBlack), 60);
    let (figures, expected) = (unknown(&summary), unknown(&alone));
    assert_eq!(figures, &UnknownFigures { blank: 60, ..expected.clone() });
    assert_eq!(found, found_alone);
    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("60 images are black, white or of one tone and not under test"));

    // One that a reader marks is a finding, and still nothing is learnt from it.
    let marks = folder.path().join("marks.csv");
    let digests = Dataset::open(&[out.join("findings.parquet").display().to_string()]).expect("a table");
    let batch = digests.read(10_000, None).expect("rows").next().expect("rows").expect("rows").record_batch;
    let rows = batch["row"].as_primitive::<UInt64Type>();
    let at = (0..batch.num_rows()).find(|at| rows.value(*at) == (KNOWN + UNKNOWN) as u64).expect("a black image");
    let digest = batch["image_digest"].as_string::<i32>().value(at).to_owned();
    std::fs::write(&marks, format!("image_digest,mark\n{digest},unknown\n")).expect("written");
    let marks = Marks::read(&marks).expect("marks");
    let (summary, found) = run(&stage, &AuditInputs { marks: Some(&marks), ..AuditInputs::new(&dataset) }, &out);
    let figures = unknown(&summary);
    assert_eq!((figures.marked_unknown, figures.blank, figures.known_unknown), (1, 59, 0));
    assert_eq!(figures.tested, expected.tested);
    let marked: Vec<u64> = found.iter().filter(|(_, q_value, _)| q_value.is_none()).map(|(row, ..)| *row).collect();
    assert_eq!(marked, [(KNOWN + UNKNOWN) as u64]);
}
