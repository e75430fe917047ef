//! Audits through the library: what is refused, what is left after a stop, near duplicates, files and row groups.

#[path = "../../tests/common/mod.rs"]
mod common;
mod pictures;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch};
use common::models;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::model::Model;
use dismax::run::{Progress, Run};
use dismax::stage::{Stage, StageOptions};
use dismax::{Device, Error, Result};
use dismax_audit::{AuditInputs, AuditOptions, AuditSummary, Kind, audit, compare};
use image::ImageFormat;
use pictures::{encoded, pairs, picture};

fn write(folder: &Path, name: &str, images: &[Vec<u8>], row_group_rows: usize) -> String {
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    let record_batch = RecordBatch::try_from_iter([("image", images)]).expect("a record batch");
    let path = folder.join(name).display().to_string();
    let options = WriteOptions { row_group_rows, ..WriteOptions::default() };
    let mut writer = DatasetWriter::create(&path, &record_batch.schema(), &options).expect("a file");
    writer.write(&record_batch).expect("rows");
    writer.finish().expect("a dataset");
    path
}

fn stage(model: &Model) -> Stage {
    let options = StageOptions { device: Device::Cpu, batch_rows: 8, workers: 2, ..StageOptions::default() };
    Stage::try_new(model.clone(), &options).expect("a stage")
}

fn run(inputs: &[&str], reference: Option<&str>, out: &Path) -> Result<AuditSummary> {
    let model = models::calibrated();
    let reference = reference.map(|reference| Dataset::open(&[reference])).transpose()?;
    let (dataset, options) = (Dataset::open(inputs)?, AuditOptions::default());
    let inputs = AuditInputs { reference: reference.as_ref(), ..AuditInputs::new(&dataset) };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
    audit(&stage(&model), &inputs, out, &options, &mut run)
}

#[test]
fn near_duplicates_within_and_across() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut images: Vec<Vec<u8>> = (0..30).map(|seed| encoded(&picture(seed, 0), ImageFormat::Png)).collect();
    images.push(encoded(&picture(4, 0), ImageFormat::Jpeg));
    images.push(encoded(&picture(9, 1), ImageFormat::Png));
    images.push(images[12].clone());
    let input = write(folder.path(), "input.parquet", &images, 1000);
    // The third image as JPEG, the seventh byte for byte.
    let known =
        [encoded(&picture(100, 0), ImageFormat::Png), encoded(&picture(3, 0), ImageFormat::Jpeg), images[7].clone()];
    let reference = write(folder.path(), "reference.parquet", &known, 1000);
    let out = folder.path().join("audit");
    let summary = run(&[&input], Some(&reference), &out).expect("an audit");
    assert_eq!(pairs(&out, Kind::NearDuplicate), [(30, 4), (31, 9)]);
    assert_eq!(pairs(&out, Kind::ExactDuplicate), [(32, 12)]);
    assert_eq!(pairs(&out, Kind::LeakedNear), [(3, 1)]);
    assert_eq!(pairs(&out, Kind::Leaked), [(7, 2)]);
    let figures = summary.duplicates;
    assert_eq!((figures.images, figures.distinct, figures.repeated), (33, 32, 1));
    assert_eq!(figures.reference_images, Some(3));
    assert_eq!(AuditSummary::read(&out).expect("a summary"), summary);
}

#[test]
fn files_and_row_groups_in_which_findings_pile_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = |seeds: std::ops::Range<u64>| seeds.map(|seed| encoded(&picture(seed, 0), ImageFormat::Png)).collect();
    let mut second: Vec<Vec<u8>> = good(100..160);
    second.iter_mut().skip(20).take(20).for_each(|image| *image = b"broken".to_vec());
    let files = [write(folder.path(), "a.parquet", &good(0..60), 20), write(folder.path(), "b.parquet", &second, 20)];
    let out = folder.path().join("audit");
    let summary = run(&[&files[0], &files[1]], None, &out).expect("an audit");
    assert_eq!(summary.slices.by, ["file", "row group"]);
    let slices: Vec<_> = summary.slices.slices.iter().filter(|slice| slice.kind == Kind::Undecodable).collect();
    assert_eq!(slices[0].value, format!("{}, row group 1", files[1]));
    assert_eq!((slices[0].rows, slices[0].findings, slices[0].rate_elsewhere), (20, 20, 0.0));
    assert!(slices.iter().any(|slice| slice.by == "file" && slice.value == files[1] && slice.findings == 20));
    assert!(slices.iter().all(|slice| slice.by == "row group" || slice.value == files[1]));
}

#[test]
fn the_page_has_a_map_and_says_which_image_a_mark_is_about() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut images: Vec<Vec<u8>> = (0..50).map(|seed| encoded(&picture(seed, 0), ImageFormat::Png)).collect();
    images.extend_from_within(7..12);
    images.push(b"broken".to_vec());
    let (first, second) = images.split_at(30);
    let files =
        [("a.parquet", first), ("b.parquet", second)].map(|(name, images)| write(folder.path(), name, images, 1000));
    let pages = ["one", "two"].map(|name| {
        let out = folder.path().join(name);
        run(&[&files[0], &files[1]], None, &out).expect("an audit");
        std::fs::read_to_string(out.join("report.html")).expect("a page")
    });
    let maps = pages.each_ref().map(|page| {
        let (_, rest) = page.split_once("<section id=\"map\"").expect("a map");
        rest.split_once("</section>").expect("its end").0
    });
    assert_eq!(maps[0], maps[1], "the same images give the same map");
    assert!(maps[0].contains("50 of 50 images as points"), "each different image once");
    assert_eq!(maps[0].matches("<li data-x=").count(), 50);
    for (file, images) in [("a.parquet", 30), ("b.parquet", 20)] {
        let category = format!("{file}</bdi> <span class=\"count\">{images}</span>");
        assert!(maps[0].contains(&category), "{category}");
    }

    let findings = Dataset::open(&[folder.path().join("one/findings.parquet").display().to_string()]).expect("a table");
    let chunk = findings.read(1000, None).expect("rows").next().expect("a chunk").expect("rows");
    let column = |name: &str| chunk.record_batch[name].as_string::<i32>().clone();
    let (kinds, digests) = (column("kind"), column("image_digest"));
    let found: HashSet<(&str, &str)> = kinds.iter().flatten().zip(digests.iter().flatten()).collect();
    let subjects: HashSet<(&str, &str)> = pages[0]
        .split("data-digest=\"")
        .skip(1)
        .map(|rest| {
            let (digest, rest) = rest.split_once("\" data-kind=\"").expect("a kind");
            (rest.split('"').next().expect("its end"), digest)
        })
        // Where none is unknown, the strangest images are shown.
        .filter(|(kind, _)| *kind != "unknown")
        .collect();
    // Five copies and one broken image at least.
    assert!(subjects.len() >= 6 && subjects.is_subset(&found), "{subjects:?}");
}

#[test]
fn a_stop_and_a_refusal_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let images: Vec<Vec<u8>> = (0..200).map(|seed| encoded(&picture(seed, 0), ImageFormat::Png)).collect();
    let input = write(folder.path(), "input.parquet", &images, 1000);
    let out = folder.path().join("audit");
    let (model, cancel) = (models::calibrated(), Cancel::default());
    let dataset = Dataset::open(&[&input]).expect("rows");
    let audit_with = |stage: &Stage, options: &AuditOptions, observe: &mut dyn FnMut(u64)| {
        let mut progress = |progress: Progress| {
            assert!(progress.task == "scoring" || progress.rows == 200);
            observe(progress.rows);
        };
        let mut run = Run { cancel: cancel.clone(), progress: &mut progress };
        audit(stage, &AuditInputs::new(&dataset), &out, options, &mut run)
    };
    let (stage_of_model, options) = (stage(&model), AuditOptions::default());
    let mut done = 0;
    let stopped = audit_with(&stage_of_model, &options, &mut |rows| {
        done = rows;
        cancel.cancel();
    });
    assert!(matches!(stopped, Err(Error::Cancelled)) && done < 200, "{stopped:?} after {done} rows");
    cancel.reset();

    let message = |result: Result<AuditSummary>| result.expect_err("refused").to_string();
    let text = message(audit_with(&stage(&models::uncalibrated()), &options, &mut |_| ()));
    assert!(text.contains("not calibrated"), "{text}");
    let text = message(audit_with(&stage_of_model, &AuditOptions { fdr: 0.0, ..options.clone() }, &mut |_| ()));
    assert!(text.contains("false discovery rate 0"), "{text}");
    let text = message(run(&[&input, &input], None, &out));
    assert!(text.contains("named twice"), "{text}");
    assert_eq!(common::datasets::names(folder.path()), ["input.parquet"]);
}

#[test]
fn a_comparison_that_is_stopped_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = encoded(&picture(1, 0), ImageFormat::Png);
    let input = write(folder.path(), "input.parquet", &[image.clone(), image], 10);
    let place = |name: &str| folder.path().join(name);
    let (old, new, changes) = (place("old"), place("new"), place("changes"));
    run(&[&input], None, &old).expect("an audit");
    run(&[&input], None, &new).expect("an audit");
    let files = || std::fs::read_dir(folder.path()).expect("a folder").count();
    let (before, cancel) = (files(), Cancel::default());
    cancel.cancel();
    let stopped = compare(&old, &new, &changes, false, "", &cancel);
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    assert_eq!(files(), before);
    cancel.reset();
    let comparison = compare(&old, &new, &changes, false, "", &cancel).expect("a comparison");
    assert!(comparison.kinds.iter().all(|kind| kind.appeared + kind.gone == 0), "{comparison:?}");
    assert!(comparison.kinds.iter().any(|kind| (kind.old, kind.new) == (Some(1), Some(1))), "{comparison:?}");
}
