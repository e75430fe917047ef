//! What follows on an audit: rules, earlier audits, accepted findings, clean datasets, exports, histories.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float32Type, Int64Type, UInt32Type, UInt64Type};
use base64::Engine as _;
use common::models;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::run::Run;
use dismax::stage::{Stage, StageOptions};
use dismax::{Device, Result};
use dismax_audit::{
    Acceptances, AuditInputs, AuditOptions, AuditSummary, CleanOptions, Cleaning, History, Kind, LabelStudioExport,
    LabelStudioOptions, ReviewOptions, Rule, acceptance_template, audit, gate,
};
use image::imageops::FilterType;
use image::{ImageFormat, RgbImage};
use quick_junit::{Report, TestCaseStatus};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A picture of soft spots that the seed decides.
fn picture(seed: u64, format: ImageFormat) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let spots = RgbImage::from_fn(9, 8, |_, _| image::Rgb(rng.random()));
    let whole = image::imageops::resize(&spots, 40, 40, FilterType::CatmullRom);
    let mut bytes = std::io::Cursor::new(Vec::new());
    whole.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

/// A folder with two files: 20 and 10 different pictures, of which a few are planted.
///
/// | file, row | id | planted |
/// | --- | --- | --- |
/// | a, 3 | 3 | no image |
/// | a, 7 | 7 | row 2 again |
/// | b, 0 | 20 | row 5 of a as JPEG |
/// | b, 4 | 24 | row 2 of a again |
/// | b, 9 | 29 | row 0 of b, that is row 5 of a, once more |
struct Planted {
    folder: tempfile::TempDir,
    inputs: [String; 2],
}

impl Planted {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let png = |seed: u64| picture(seed, ImageFormat::Png);
        let mut first: Vec<Vec<u8>> = (0..20).map(png).collect();
        let mut second: Vec<Vec<u8>> = (20..30).map(png).collect();
        first[3] = b"no image".to_vec();
        first[7] = first[2].clone();
        second[0] = picture(5, ImageFormat::Jpeg);
        second[4] = first[2].clone();
        second[9] = second[0].clone();
        let inputs = [write(folder.path(), "a.parquet", &first, 0), write(folder.path(), "b.parquet", &second, 20)];
        Self { folder, inputs }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn audit(&self, name: &str, options: &AuditOptions) -> AuditSummary {
        self.try_audit(name, options).expect("an audit")
    }

    fn try_audit(&self, name: &str, options: &AuditOptions) -> Result<AuditSummary> {
        let stage_options = StageOptions { device: Device::Cpu, batch_rows: 8, workers: 2, ..StageOptions::default() };
        let stage = Stage::try_new(models::calibrated(), &stage_options)?;
        let dataset = Dataset::open(&self.inputs)?;
        let inputs = AuditInputs::new(&dataset);
        with_run(|run| audit(&stage, &inputs, &self.path(name), options, run))
    }
}

fn with_run<T>(body: impl FnOnce(&mut Run<'_>) -> Result<T>) -> Result<T> {
    body(&mut Run { cancel: Cancel::default(), progress: &mut |_| () })
}

fn write(folder: &Path, name: &str, images: &[Vec<u8>], first_id: i64) -> String {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(first_id..first_id + images.len() as i64));
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    let record_batch = RecordBatch::try_from_iter([("id", ids), ("image", images)]).expect("a record batch");
    let path = folder.join(name).display().to_string();
    let options = WriteOptions { overwrite: true, ..WriteOptions::default() };
    let mut writer = DatasetWriter::create(&path, &record_batch.schema(), &options).expect("a file");
    writer.write(&record_batch).expect("rows");
    writer.finish().expect("a dataset");
    path
}

fn read(path: &str) -> RecordBatch {
    let dataset = Dataset::open(&[path]).expect("a dataset");
    let batches: Vec<_> =
        dataset.read(1000, None).expect("rows").map(|chunk| chunk.expect("rows").record_batch).collect();
    concat_batches(dataset.schema(), &batches).expect("one schema")
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch["id"].as_primitive::<Int64Type>().values().to_vec()
}

fn rules(text: &str) -> Vec<Rule> {
    text.split(',').map(|rule| rule.parse().expect("a rule")).collect()
}

#[test]
fn rules_count_what_is_new_and_not_accepted() {
    let planted = Planted::new();
    planted.audit("old", &AuditOptions::default());
    let rules = rules("broken>0,exact_duplicate>=4,near_duplicate>10%,exact_duplicate>9%,near_white>0");
    let cancel = Cancel::default();
    let gate_of =
        |name: &str, review: &ReviewOptions| gate(&planted.path(name), &rules, review, &cancel).expect("a report");
    let unasked = ["leaked>0", "unknown>1%", "label_issue>0"].map(|rule| {
        let rule = rule.parse().expect("a rule");
        let refused = gate(&planted.path("old"), &[rule], &ReviewOptions::default(), &cancel);
        refused.err().map(|error| error.to_string())
    });
    let why =
        ["leaked is not looked for without a reference", "label_issue is not looked for without a model and labels"];
    assert_eq!(unasked, [Some(why[0].to_owned()), None, Some(why[1].to_owned())], "it has a model and nothing else");
    let early = planted.try_audit(
        "early",
        &AuditOptions { rules: vec!["leaked>0".parse().expect("a rule")], ..AuditOptions::default() },
    );
    assert_eq!(early.expect_err("refused").to_string(), why[0]);
    assert!(!planted.path("early").exists());
    let report = gate_of("old", &ReviewOptions::default());
    let counted: Vec<_> = report.rules.iter().map(|rule| (rule.findings, rule.rows, rule.broken)).collect();
    // Three rows repeat another's image byte for byte: 10 % of 30 rows, and one is nearly another.
    assert_eq!(counted, [(1, 1, true), (3, 3, false), (1, 1, false), (3, 3, true), (0, 0, false)]);
    assert!(!report.passed());
    assert_eq!((report.rules[0].examples[0].row, report.rules[0].examples[0].kind), (3, Kind::Undecodable));

    // One accepted duplicate is an image that two findings are about.
    let template = acceptance_template(&planted.path("old"), &ReviewOptions::default(), &cancel).expect("a template");
    let lines: Vec<&str> = template.lines().collect();
    assert_eq!(lines[0], "image_digest,kind,file,row,who,why,until,evidence");
    let of = |kind: &str| lines.iter().filter(|line| line.contains(&format!(",{kind},"))).count();
    assert_eq!((of("undecodable"), of("exact_duplicate"), of("near_duplicate")), (1, 2, 1));
    let row = |kind: &str, file: &str, row: &str| {
        let place = format!("{file}.parquet,{row},");
        let line = lines.iter().find(|line| line.contains(&format!(",{kind},")) && line.contains(&place));
        line.expect("a line").split(',').next().expect("a digest").to_owned()
    };
    let accepted = planted.path("accepted.csv");
    let lines = format!(
        "image_digest,kind,who,why,until\n{},exact_duplicate,Ann,<b>twice</b> on purpose,\n{},undecodable,Ann,old,2020-01-01\n",
        row("exact_duplicate", "a", "7"),
        row("undecodable", "a", "3"),
    );
    fs::write(&accepted, lines).expect("written");
    let review = ReviewOptions { accepted: Acceptances::read(&[&accepted]).expect("a file"), baseline: None };
    let report = gate_of("old", &review);
    let counted: Vec<_> = report.rules.iter().map(|rule| (rule.findings, rule.broken)).collect();
    assert_eq!(counted, [(1, true), (1, false), (1, false), (1, false), (0, false)]);
    assert_eq!(report.expired.iter().map(|entry| entry.kind).collect::<Vec<_>>(), [Kind::Undecodable]);
    let duplicates = report.kinds.iter().find(|kind| kind.kind == Kind::ExactDuplicate).expect("there are some");
    assert_eq!((duplicates.findings, duplicates.accepted, duplicates.new, duplicates.counted), (3, 2, None, 1));

    // Another broken row: of two, one is new. The audit itself keeps what it was told.
    let mut second: Vec<Vec<u8>> = (20..30).map(|seed| picture(seed, ImageFormat::Png)).collect();
    second[1] = b"no image either".to_vec();
    write(planted.folder.path(), "b.parquet", &second, 20);
    let review = ReviewOptions { baseline: Some(planted.path("old")), ..review };
    let summary = planted.audit("new", &AuditOptions { review, ..AuditOptions::default() });
    let figures = summary.review.expect("a review");
    assert_eq!(figures.new.expect("a baseline").get(&Kind::Undecodable), Some(&1));
    assert_eq!(figures.accepted.into_iter().collect::<Vec<_>>(), [(Kind::ExactDuplicate, 1)]);
    let report = gate_of("new", &ReviewOptions::default());
    assert_eq!((report.rules[0].findings, report.rules[3].findings), (1, 0));
    assert_eq!(report.rules[0].examples[0].file, planted.inputs[1]);
    let findings = read(&planted.text("new/findings.parquet"));
    let accepted: Vec<_> = findings["accepted"].as_string::<i32>().iter().flatten().collect();
    assert_eq!(accepted, ["Ann: <b>twice</b> on purpose"]);
    let message = planted
        .try_audit(
            "no",
            &AuditOptions {
                review: ReviewOptions { baseline: Some(planted.path("nothing")), accepted: None },
                ..AuditOptions::default()
            },
        )
        .expect_err("no audit")
        .to_string();
    assert!(message.contains("nothing") && !planted.path("no").exists(), "{message}");
}

#[test]
fn reports_for_machines_and_people() {
    let planted = Planted::new();
    planted.audit("audit", &AuditOptions::default());
    let report_of = |rules: &[Rule]| {
        gate(&planted.path("audit"), rules, &ReviewOptions::default(), &Cancel::default()).expect("a report")
    };
    let report = report_of(&rules("broken>0,near_white>0"));
    let junit = Report::deserialize_from_str(&report.junit().expect("XML")).expect("JUnit XML");
    assert_eq!((junit.tests, junit.failures), (2, 1));
    let cases = &junit.test_suites[0].test_cases;
    assert_eq!((cases[0].name.as_str(), cases[1].name.as_str()), ("broken>0", "near_white>0"));
    let TestCaseStatus::NonSuccess { message, description, .. } = &cases[0].status else {
        unreachable!("the first rule is broken")
    };
    assert_eq!(message.as_ref().map(|text| text.as_str()), Some("1 finding in 1 row (3.3 %)"));
    assert!(description.as_ref().is_some_and(|text| text.as_str().starts_with("undecodable, row 3 of ")));
    let junit = Report::deserialize_from_str(&report_of(&[]).junit().expect("XML")).expect("JUnit XML");
    let kinds: Vec<&str> = junit.test_suites[0].test_cases.iter().map(|case| case.name.as_str()).collect();
    assert!(kinds.contains(&"exact_duplicate") && kinds.contains(&"undecodable"), "{kinds:?}");

    let markdown = report.markdown();
    assert!(markdown.starts_with("### Audit: failed, 1 rule broken\n"), "{markdown}");
    assert!(
        markdown.contains("| broken\\>0 | 1 | 1 | **broken** |")
            && markdown.contains("| near\\_white\\>0 | 0 | 0 | passed |")
    );
    assert!(markdown.contains("| Exact duplicates | 3 | - | 0 | 3 |"), "{markdown}");
    assert!(report_of(&rules("near_white>0")).markdown().starts_with("### Audit: passed\n"));
}

#[test]
fn a_clean_dataset_and_what_was_removed_are_the_input() {
    let planted = Planted::new();
    planted.audit("audit", &AuditOptions::default());
    let clean = |options: &CleanOptions| {
        let cleaning = Cleaning::plan(&planted.path("audit"), options, &Cancel::default())?;
        let planned = cleaning.figures();
        let figures =
            with_run(|run| cleaning.write(&planted.text("kept.parquet"), &planted.text("removed.parquet"), run))?;
        assert_eq!(planned, figures);
        Ok::<_, dismax::Error>((figures, read(&planted.text("kept.parquet")), read(&planted.text("removed.parquet"))))
    };
    let write = WriteOptions { overwrite: true, ..WriteOptions::default() };
    let options = CleanOptions { write, ..CleanOptions::default() };
    let (figures, kept, removed) = clean(&options).expect("a clean dataset");
    assert_eq!((figures.kept, figures.removed, figures.sets), (29, 1, 0));
    assert_eq!((ids(&removed), kept.num_columns()), (vec![3], 2));

    let both = CleanOptions { keep_one: vec![Kind::ExactDuplicate, Kind::NearDuplicate], ..options.clone() };
    let (figures, kept, removed) = clean(&both).expect("a clean dataset");
    assert_eq!((figures.rows, figures.kept, figures.removed, figures.sets), (30, 25, 5, 2));
    // Of the images of rows 2 and 5, each the first stays: the copies lie in both files.
    assert_eq!(ids(&removed), [3, 7, 20, 24, 29]);
    assert_eq!(ids(&kept), (0..30).filter(|id| ![3, 7, 20, 24, 29].contains(id)).collect::<Vec<i64>>());
    let input =
        concat_batches(&kept.schema(), &[read(&planted.inputs[0]), read(&planted.inputs[1])]).expect("one schema");
    let original = removed.project(&[0, 1]).expect("the input's columns");
    for part in [&kept, &original] {
        for row in 0..part.num_rows() {
            let id = ids(part)[row] as usize;
            assert_eq!(part["image"].as_binary::<i32>().value(row), input["image"].as_binary::<i32>().value(id));
        }
    }
    let kept_row = removed["kept_row"].as_primitive::<UInt64Type>();
    assert_eq!(kept_row.iter().collect::<Vec<_>>(), [None, Some(2), Some(5), Some(2), Some(5)]);
    let kept_file = removed["kept_file"].as_string::<i32>();
    assert!(kept_file.iter().skip(1).all(|file| file == Some(planted.inputs[0].as_str())));
    let kinds = removed["removed_kinds"].as_list::<i32>();
    let of_row =
        |row: usize| kinds.value(row).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        (of_row(0), of_row(1), of_row(2)),
        (vec!["undecodable".to_owned()], vec!["exact_duplicate".to_owned()], vec!["near_duplicate".to_owned()],)
    );

    // A row that goes anyway does not stay for its copies.
    let drop = "exact_duplicate".parse().expect("a selection");
    let (_, _, removed) =
        clean(&CleanOptions { drop: vec![drop], keep_one: vec![Kind::NearDuplicate], ..options.clone() })
            .expect("a clean dataset");
    assert_eq!(ids(&removed), [7, 20, 24, 29]);

    let refused = |options: &CleanOptions| clean(options).expect_err("refused").to_string();
    let other_kind = CleanOptions { keep_one: vec![Kind::Blurred], ..options.clone() };
    assert!(refused(&other_kind).contains("blurred"));
    let mut first: Vec<Vec<u8>> = (0..20).map(|seed| picture(seed, ImageFormat::Png)).collect();
    self::write(planted.folder.path(), "a.parquet", &first, 0);
    let message = refused(&options);
    assert!(message.contains("a.parquet, row 3") && message.contains("another image"), "{message}");
    first.pop();
    self::write(planted.folder.path(), "a.parquet", &first, 0);
    let message = refused(&options);
    assert!(message.contains("30 rows") && message.contains("29 now"), "{message}");
    assert_eq!(ids(&read(&planted.text("kept.parquet"))).len(), 26, "what was there stays");
}

#[test]
fn every_row_and_every_audit_can_be_kept() {
    let planted = Planted::new();
    let options = AuditOptions {
        rows: Some(planted.text("rows.parquet")),
        history: Some(planted.path("history")),
        ..AuditOptions::default()
    };
    let summary = planted.audit("audit", &options);
    let rows = read(&planted.text("rows.parquet"));
    assert_eq!(rows.num_rows(), 30);
    assert_eq!(rows["row"].as_primitive::<UInt64Type>().value(24), 4);
    let widths = rows["width"].as_primitive::<UInt32Type>();
    let errors = rows["error"].as_string::<i32>();
    for row in 0..30 {
        assert_eq!((widths.is_null(row), errors.is_valid(row)), (row == 3, row == 3), "row {row}");
    }
    assert!(errors.value(3).starts_with("unknown_format"), "{}", errors.value(3));
    let digests = rows["image_digest"].as_string::<i32>();
    assert_eq!((digests.value(2), digests.value(20)), (digests.value(24), digests.value(29)));
    let formats = rows["format"].as_string::<i32>();
    assert_eq!((formats.value(0), formats.value(20)), ("PNG", "JPEG"));
    let confidence = rows["confidence"].as_primitive::<Float32Type>();
    assert!(confidence.iter().flatten().all(|confidence| (0.0..=1.0).contains(&confidence)));
    assert!(rows.schema().fields().iter().all(|field| field.metadata().contains_key("description")));

    let message = planted.try_audit("second", &options).expect_err("rows.parquet is there").to_string();
    assert!(message.contains("rows.parquet exists") && !planted.path("second").exists(), "{message}");
    planted.audit("second", &AuditOptions { rows: None, ..options });
    let history = History::read(&planted.path("history")).expect("a history");
    assert_eq!(history.counts(Kind::ExactDuplicate), [Some(3), Some(3)]);
    assert_eq!((history.counts(Kind::Leaked), history.counts(Kind::LabelIssue)), (vec![None; 2], vec![None; 2]));
    assert_eq!((history.entries[1].rows, history.entries[1].files), (30, 2));
    assert_eq!(history.entries[0].findings, summary.findings);
}

#[test]
fn findings_become_tasks() {
    let planted = Planted::new();
    planted.audit("audit", &AuditOptions::default());
    let path = planted.path("tasks.json");
    let selections = vec!["any:medium".parse().expect("a selection"), "near_duplicate".parse().expect("a selection")];
    let options = LabelStudioOptions { selections, ..LabelStudioOptions::default() };
    let export = LabelStudioExport::create(&path, options.clone()).expect("a file");
    let figures = with_run(|run| export.write(&planted.path("audit"), run)).expect("tasks");
    // The row without an image cannot be shown.
    assert_eq!(figures.without_image, 1);
    let tasks: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    let tasks = tasks.as_array().expect("tasks");
    assert_eq!(tasks.len() as u64, figures.tasks);
    let task = tasks.iter().find(|task| task["data"]["row"] == 0 && task["data"]["file"] == planted.inputs[1].as_str());
    let task = task.expect("the JPEG");
    let image = task["data"]["image"].as_str().expect("a data URI");
    let encoded = image.strip_prefix("data:image/jpeg;base64,").expect("a JPEG");
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
    assert_eq!(bytes, picture(5, ImageFormat::Jpeg));
    let result = &task["predictions"][0]["result"];
    assert_eq!(
        (&result[0]["from_name"], &result[0]["to_name"], &result[0]["type"]),
        (&"finding".into(), &"image".into(), &"choices".into())
    );
    let kinds = result[0]["value"]["choices"].as_array().expect("choices");
    assert!(kinds.contains(&"near_duplicate".into()), "{kinds:?}");
    assert_eq!(result[1]["value"]["choices"][0], task["data"]["predicted"]);
    assert!(LabelStudioExport::create(&path, options).is_err(), "a file is there");
}
