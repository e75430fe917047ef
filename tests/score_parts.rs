//! Scoring into a folder of parts: going on, doing only what is needed, refusing what does not belong together.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use common::datasets::{chunks, folder, names, open, rows, write};
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, LoadOptions, OnBadFile, OpenOptions, WriteOptions};
use dismax::run::Run;
use dismax::score_file::{
    ErrorLimit, PartsSummary, ScoreOptions, ScoreSummary, retry_failed, score_to, score_to_parts,
};
use dismax::stage::StageOptions;
use dismax::{Device, Error, Result, Stage};
use tempfile::TempDir;

/// A model on disk: a digest tells parts of two models apart.
fn stage(folder: &Path, load: LoadOptions) -> Stage {
    let mut model = common::models::calibrated();
    let place = folder.join("model");
    if place.exists() {
        model = dismax::Model::read(&place).expect("a model");
    } else {
        model.write(&place, false).expect("written");
    }
    let options = StageOptions { device: Device::Cpu, workers: 2, load, ..StageOptions::default() };
    Stage::try_new(model, &options).expect("a stage")
}

struct Setup {
    folder: TempDir,
    stage: Stage,
}

impl Setup {
    fn new() -> Self {
        let folder = folder();
        fs::create_dir(folder.path().join("in")).expect("a folder");
        let stage = stage(folder.path(), LoadOptions::default());
        Self { folder, stage }
    }

    fn input(&self, name: &str, range: std::ops::Range<i64>) {
        let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
        write(&self.path("in").join(name), &[rows(range)], &options);
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn dataset(&self) -> Dataset {
        open(&self.path("in")).expect("a dataset")
    }

    fn score(&self, out: &str, options: &ScoreOptions, cancel: &Cancel, stop_after: u64) -> Result<ScoreSummary> {
        let mut progress = |progress: dismax::run::Progress| {
            if progress.rows >= stop_after {
                cancel.cancel();
            }
        };
        let mut run = Run { cancel: cancel.clone(), progress: &mut progress };
        score_to_parts(&self.stage, &self.dataset(), &self.path(out).display().to_string(), options, &mut run)
    }

    fn parts(&self, out: &str) -> PartsSummary {
        let options = ScoreOptions::default();
        self.score(out, &options, &Cancel::default(), u64::MAX).expect("scores").parts.expect("a folder")
    }
}

/// All files of a folder with their bytes.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let named = names(folder).into_iter().filter(|name| name.ends_with(".parquet"));
    named.map(|name| (name.clone(), fs::read(folder.join(name)).expect("a part"))).collect()
}

fn whole(dataset: &Dataset) -> RecordBatch {
    let read = chunks(dataset, 1000, None);
    concat_batches(dataset.schema(), read.iter().map(|chunk| &chunk.record_batch)).expect("one schema")
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let setup = Setup::new();
    for (name, range) in [("a.parquet", 0..40), ("b.arrow", 40..40), ("c.parquet", 40..100), ("d.pq", 100..130)] {
        setup.input(name, range);
    }
    assert_eq!(setup.parts("whole"), PartsSummary { written: 4, kept: 0, removed: 0, rows: 130 });
    let expected = ["_dismax.json", "a.parquet", "b.parquet", "c.parquet", "d.parquet"];
    assert_eq!(names(&setup.path("whole")), expected);

    for stop_after in [1, 41, 101, 130] {
        let out = format!("stopped-{stop_after}");
        let stopped = setup.score(&out, &ScoreOptions::default(), &Cancel::default(), stop_after);
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stop_after}");
        for (name, bytes) in contents(&setup.path(&out)) {
            assert_eq!(bytes, fs::read(setup.path("whole").join(&name)).expect("a part"), "{name} after {stop_after}");
        }
        let parts = setup.parts(&out);
        assert_eq!((parts.written + parts.kept, parts.rows), (4, 130), "{stop_after}");
        assert_eq!(contents(&setup.path(&out)), contents(&setup.path("whole")), "{stop_after}");
        assert_eq!(setup.parts(&out), PartsSummary { written: 0, kept: 4, removed: 0, rows: 130 });
    }

    // The parts together are what a single file holds.
    let single = setup.path("single.parquet").display().to_string();
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    score_to(&setup.stage, &setup.dataset(), &single, &ScoreOptions::default(), &mut run).expect("scores");
    assert_eq!(whole(&open(&setup.path("whole")).expect("parts")), whole(&open(single.as_ref()).expect("a file")));
}

#[test]
fn only_what_is_new_or_changed_is_scored() {
    let setup = Setup::new();
    for (name, range) in [("a.parquet", 0..10), ("c.parquet", 10..20)] {
        setup.input(name, range);
    }
    setup.parts("out");
    setup.input("b.parquet", 20..30);
    assert_eq!(setup.parts("out"), PartsSummary { written: 1, kept: 2, removed: 0, rows: 30 });
    setup.input("c.parquet", 30..45);
    assert_eq!(setup.parts("out"), PartsSummary { written: 1, kept: 2, removed: 0, rows: 35 });
    // A part that is gone, and one that a killed run did not note.
    fs::remove_file(setup.path("out/a.parquet")).expect("removed");
    let manifest = setup.path("out/_dismax.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    fs::write(&manifest, text.replacen("\"rows\": 15", "\"rows\": null", 1)).expect("written");
    assert_eq!(setup.parts("out"), PartsSummary { written: 2, kept: 1, removed: 0, rows: 35 });
    let labels: Vec<i64> =
        whole(&open(&setup.path("out")).expect("parts"))["label"].as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(labels, (0..10).chain(20..30).chain(30..45).collect::<Vec<_>>());
    // What is left of a killed run is removed.
    fs::write(setup.path("out/.a.parquet.aB3dE6.part"), b"half").expect("written");
    setup.parts("out");
    assert!(names(&setup.path("out")).iter().all(|name| !name.starts_with('.')));
}

#[test]
fn other_settings_and_foreign_folders_are_refused() {
    let setup = Setup::new();
    setup.input("a.parquet", 0..10);
    setup.parts("out");
    let before = contents(&setup.path("out"));
    let other = ScoreOptions { alpha: Some(0.2), ..ScoreOptions::default() };
    let error = setup.score("out", &other, &Cancel::default(), u64::MAX).expect_err("another alpha").to_string();
    assert!(error.contains("its alpha is \"0.05\", not \"0.2\""), "{error}");
    assert_eq!(contents(&setup.path("out")), before);
    let over = ScoreOptions { write: WriteOptions { overwrite: true, ..WriteOptions::default() }, ..other };
    let parts = setup.score("out", &over, &Cancel::default(), u64::MAX).expect("starts over").parts;
    assert_eq!(parts, Some(PartsSummary { written: 1, kept: 0, removed: 0, rows: 10 }));
    assert_ne!(contents(&setup.path("out")), before);

    // Scoring the parts into their own folder, from the beginning, would remove what is read.
    let dataset = open(&setup.path("out")).expect("parts");
    let again = ScoreOptions { prefix: "again_".into(), ..over.clone() };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    let parts = contents(&setup.path("out"));
    let error = score_to_parts(&setup.stage, &dataset, &setup.path("out").display().to_string(), &again, &mut run);
    assert!(matches!(error, Err(Error::OutputIsInput { .. })));
    assert_eq!(contents(&setup.path("out")), parts);

    let error = setup.score("in", &over, &Cancel::default(), u64::MAX).expect_err("holds inputs");
    assert!(matches!(error, Error::OutputForeign { .. }), "{error}");
    assert_eq!(names(&setup.path("in")), ["a.parquet"]);
}

#[test]
fn a_damaged_file_has_no_part() {
    let setup = Setup::new();
    for (name, range) in [("a.arrows", 0..10), ("b.arrows", 10..200), ("c.arrows", 200..210)] {
        setup.input(name, range);
    }
    let path = setup.path("in/b.arrows");
    let whole = fs::read(&path).expect("just written");
    fs::write(&path, &whole[..whole.len() - 100]).expect("written");
    let options = OpenOptions { on_bad_file: OnBadFile::Skip, ..OpenOptions::default() };
    let dataset = Dataset::open_with(&[setup.path("in").display().to_string()], options).expect("opens");
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    let out = setup.path("out").display().to_string();
    let summary = score_to_parts(&setup.stage, &dataset, &out, &ScoreOptions::default(), &mut run).expect("scores");
    assert_eq!(summary.parts, Some(PartsSummary { written: 2, kept: 0, removed: 0, rows: 20 }));
    assert_eq!((summary.bad_files.len(), summary.rows, summary.scored + summary.failed), (1, 20, 20));
    assert_eq!(names(out.as_ref()), ["_dismax.json", "a.parquet", "c.parquet"]);
    // Once it is whole again, it is the only one that is scored.
    fs::write(&path, whole).expect("written");
    assert_eq!(setup.parts("out"), PartsSummary { written: 1, kept: 2, removed: 0, rows: 210 });
    // A limit is for the rows of earlier runs too.
    let limited = ScoreOptions { max_errors: Some(ErrorLimit::Rows(209)), ..ScoreOptions::default() };
    let error = setup.score("out", &limited, &Cancel::default(), u64::MAX).expect_err("no row is an image");
    assert!(matches!(error, Error::TooManyRowErrors { failed: 210, rows: 210, .. }), "{error}");
}

#[test]
fn failed_rows_are_tried_again_in_their_places() {
    let folder = folder();
    let stage = stage(folder.path(), LoadOptions { read_paths: true, ..LoadOptions::default() });
    let images = folder.path().join("in");
    fs::create_dir(&images).expect("a folder");
    let picture = |grey: u8| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let picture = image::GrayImage::from_pixel(8, 8, image::Luma([grey]));
        picture.write_to(&mut bytes, image::ImageFormat::Png).expect("encodes");
        bytes.into_inner()
    };
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values((0..6).map(|row| format!("{row}.png"))));
    write(
        &images.join("rows.parquet"),
        &[RecordBatch::try_from_iter([("image", paths)]).expect("one column")],
        &WriteOptions::default(),
    );
    let missing = [1, 4];
    for row in (0..6).filter(|row| !missing.contains(row)) {
        fs::write(images.join(format!("{row}.png")), picture(row * 40)).expect("written");
    }
    let score = |target: &str, image: &str| {
        let options = StageOptions {
            device: Device::Cpu,
            column: Some(image.into()),
            load: LoadOptions { read_paths: true, ..LoadOptions::default() },
            ..StageOptions::default()
        };
        let stage = Stage::try_new(stage.model().clone(), &options).expect("a stage");
        let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
        let out = folder.path().join(target).display().to_string();
        let dataset = open(&images.join("rows.parquet")).expect("rows");
        let options = ScoreOptions { prediction_set: Some(0.2), ..ScoreOptions::default() };
        score_to_parts(&stage, &dataset, &out, &options, &mut run).expect("scores");
        (stage, out)
    };
    let (stage, out) = score("out", "image");
    let errors = |out: &str| whole(&open(out.as_ref()).expect("parts"))["error"].as_string::<i32>().clone();
    assert_eq!(
        errors(&out).iter().map(|error| error.is_some()).collect::<Vec<_>>(),
        [false, true, false, false, true, false]
    );

    fs::write(images.join("1.png"), picture(40)).expect("written");
    fs::write(images.join("4.png"), picture(160)).expect("written");
    let wrong = ScoreOptions { prediction_set: Some(0.3), ..ScoreOptions::default() };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    let error = retry_failed(&stage, &out, &wrong, &mut run).expect_err("other sets").to_string();
    assert!(error.contains("prediction sets at alpha 0.2, not at 0.3"), "{error}");
    // The sets of rows that are tried again are those of the others, also where nobody asks for them.
    let retry = || {
        let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
        retry_failed(&stage, &out, &ScoreOptions::default(), &mut run).expect("tries")
    };
    let summary = retry();
    assert_eq!((summary.rows, summary.scored, summary.failed), (2, 2, 0));
    assert_eq!(errors(&out).null_count(), 6);
    let (_, fresh) = score("fresh", "image");
    assert_eq!(whole(&open(out.as_ref()).expect("parts")), whole(&open(fresh.as_ref()).expect("parts")));
    assert_eq!(retry().rows, 0, "nothing is left to try");

    let single = folder.path().join("single.parquet").display().to_string();
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    write(single.as_ref(), &[rows(0..3)], &WriteOptions::default());
    let error = retry_failed(&stage, &single, &ScoreOptions::default(), &mut run).expect_err("no scores").to_string();
    assert!(error.contains("single.parquet: has no column \"prediction\""), "{error}");
}
