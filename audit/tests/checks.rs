//! Checks of labels and properties: what is planted is found, and what is not there is not.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use common::models;
use dismax::Device;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::run::Run;
use dismax::stage::{Stage, StageOptions};
use dismax_audit::{AuditInputs, AuditOptions, AuditSummary, DriftTest, Kind, Property, Quantity, audit};
use image::{ImageFormat, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How an image is made.
#[derive(Clone, Copy)]
struct Look {
    side: u32,
    /// Mean of the channels, from 0 to 255.
    light: u8,
    is_grey: bool,
    format: ImageFormat,
}

const USUAL: Look = Look { side: 24, light: 120, is_grey: false, format: ImageFormat::Png };

/// Noise around the light, whose middle the seed moves a little.
fn picture(look: Look, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let middle = i32::from(look.light) + rng.random_range(-20..20);
    let mut value = || (middle + rng.random_range(-60..60)).clamp(0, 255) as u8;
    let image = RgbImage::from_fn(look.side, look.side, |_, _| match (value(), look.is_grey) {
        (grey, true) => image::Rgb([grey; 3]),
        (red, false) => image::Rgb([red, value(), value()]),
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, look.format).expect("encoded");
    bytes.into_inner()
}

/// Rows of image, label and camera.
type Rows = Vec<(Vec<u8>, Option<&'static str>, &'static str)>;

fn write(folder: &Path, name: &str, rows: &Rows) -> String {
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| &row.0)));
    let labels: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1)));
    let cameras: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.2)));
    let columns = [("image", images), ("label", labels), ("camera", cameras)];
    let record_batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)));
    let record_batch = record_batch.expect("a record batch");
    let path = folder.join(name).display().to_string();
    let mut writer = DatasetWriter::create(&path, &record_batch.schema(), &WriteOptions::default()).expect("a file");
    writer.write(&record_batch).expect("rows");
    writer.finish().expect("a dataset");
    path
}

/// Audits `rows` and returns the summary, the page, and label and sentence of each finding of a kind.
fn audited(
    rows: &Rows,
    reference: Option<&Rows>,
) -> (AuditSummary, String, impl Fn(Kind) -> Vec<(String, String)> + use<>) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = models::calibrated();
    let options = StageOptions { device: Device::Cpu, batch_rows: 32, workers: 2, ..StageOptions::default() };
    let stage = Stage::try_new(model, &options).expect("a stage");
    let dataset = Dataset::open(&[write(folder.path(), "input.parquet", rows)]).expect("rows");
    let reference = reference.map(|rows| Dataset::open(&[write(folder.path(), "reference.parquet", rows)]));
    let reference = reference.transpose().expect("rows");
    let inputs = AuditInputs { reference: reference.as_ref(), ..AuditInputs::new(&dataset) };
    let options = AuditOptions { group_by: vec!["camera".into()], ..AuditOptions::default() };
    let out = folder.path().join("audit");
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
    let summary = audit(&stage, &inputs, &out, &options, &mut run).expect("an audit");
    assert_eq!(AuditSummary::read(&out).expect("a summary"), summary);
    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    answers(&page).iter().for_each(|(section, answer)| assert!(sentences(answer) <= 3, "{section}: {answer}"));
    let table = Dataset::open(&[out.join("findings.parquet").display().to_string()]).expect("a table");
    let batches: Vec<RecordBatch> =
        table.read(10_000, None).expect("rows").map(|chunk| chunk.expect("rows").record_batch).collect();
    let findings = move |kind: Kind| {
        let of = |batch: &RecordBatch| {
            let text = |name: &str, row: usize| batch[name].as_string::<i32>().value(row).to_owned();
            let rows = (0..batch.num_rows()).filter(|row| text("kind", *row) == kind.name());
            rows.map(|row| (text("label", row), text("evidence", row))).collect::<Vec<_>>()
        };
        batches.iter().flat_map(of).collect()
    };
    (summary, page, findings)
}

/// What each section answers, by its id.
fn answers(page: &str) -> Vec<(&str, &str)> {
    let sections = page.split("<section id=\"").skip(1).map(|rest| rest.split_once('"').expect("an id"));
    sections
        .map(|(id, rest)| {
            let (_, answer) = rest.split_once("class=\"summary\">").expect("an answer");
            (id, answer.split('<').next().expect("its end"))
        })
        .collect()
}

fn sentences(text: &str) -> usize {
    let starts = |next: &str| next.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
    1 + text.match_indices(". ").filter(|(at, _)| starts(&text[at + 2..])).count()
}

const CLASSES: [&str; 3] = ["cat", "dog", "ship"];

/// Rows of all classes in turn, whose looks have nothing to do with them.
fn fair(count: u64, seed: u64, look: Look) -> Rows {
    (0..count)
        .map(|row| (picture(look, seed + row), Some(CLASSES[row as usize % 3]), ["a", "b"][row as usize / 3 % 2]))
        .collect()
}

#[test]
fn labels_that_nobody_knows_are_findings() {
    let mut rows = fair(90, 0, USUAL);
    (rows[10].1, rows[11].1, rows[12].1) = (Some("dgo"), Some("dgo"), Some("bird"));
    rows[13].1 = None;
    let reference: Rows = fair(60, 1000, USUAL).into_iter().filter(|row| row.1 != Some("ship")).collect();
    let (summary, page, findings) = audited(&rows, Some(&reference));
    let figures = summary.unseen_labels.as_ref().expect("labels");
    // Rows 11 and, of the reference's missing class, 2, 5, 8, 14 and so on.
    assert_eq!((figures.not_of_model, figures.not_in_reference, figures.different), (3, Some(29), 3));
    let labels: Vec<_> =
        figures.labels.iter().map(|label| (label.label.as_str(), label.rows, label.is_class)).collect();
    assert_eq!(labels, [("ship", 29, true), ("dgo", 2, false), ("bird", 1, false)]);
    let found = findings(Kind::UnseenLabel);
    assert_eq!(found.len(), 32);
    let of = |label: &str| found.iter().find(|found| found.0 == label).expect("the label").1.clone();
    assert_eq!(of("dgo"), "Labelled \"dgo\", which is no class of the model; 2 rows are labelled so.");
    assert_eq!(of("ship"), "Labelled \"ship\", which no row of the reference is; 29 rows are labelled so.");
    assert!(summary.warnings.iter().any(|warning| warning.contains("\"dgo\" (2)")), "{:?}", summary.warnings);
    assert!(
        page.contains("Unseen labels") && page.contains("Which labels does the model, or the reference, not know?")
    );

    let (rows, reference) = (fair(90, 0, USUAL), fair(60, 1000, USUAL));
    let (summary, _, findings) = audited(&rows, Some(&reference));
    let figures = summary.unseen_labels.expect("both have labels");
    assert_eq!((figures.not_of_model, figures.not_in_reference, findings(Kind::UnseenLabel).len()), (0, Some(0), 0));
    assert_eq!(audited(&fair(30, 0, USUAL), None).0.unseen_labels, None);
}

#[test]
fn a_label_that_the_light_gives_away() {
    let of_light = |row: u64, label: &str| match label {
        "ship" => Look { light: 200, ..USUAL },
        _ => Look { light: if row.is_multiple_of(2) { 60 } else { 110 }, ..USUAL },
    };
    let rows: Rows = (0..450)
        .map(|row| {
            let label = CLASSES[row as usize % 3];
            (picture(of_light(row / 3, label), row), Some(label), "a")
        })
        .collect();
    let (summary, page, _) = audited(&rows, None);
    let figures = summary.spurious_correlations.expect("labels");
    let light = figures.properties.iter().find(|found| found.property == Property::Light).expect("light");
    // A third of the rows is ships, of which nearly all are told by their light; cats and dogs are not told apart.
    assert!(light.significant && light.p_value < 1e-9 && light.gain > 0.35 && light.gain < 0.65, "{light:?}");
    let told = &light.associations[0];
    assert!(told.class == "ship" && told.share.value > 0.9 && told.share_elsewhere < 0.34, "{told:?}");
    let others = figures.properties.iter().filter(|found| matches!(found.property, Property::Size | Property::Format));
    assert_eq!(others.count(), 0, "all have one size and one format");
    assert!(page.contains("Classes that go with a range"));
    assert_eq!(figures.rows, 450);

    let (summary, page, _) = audited(&fair(450, 0, USUAL), None);
    let figures = summary.spurious_correlations.expect("labels");
    assert!(figures.properties.iter().all(|found| !found.significant), "{figures:?}");
    assert!(!page.contains("Classes that go with a range"), "what found nothing has no tables");
}

#[test]
fn rare_and_missing_classes() {
    let mut rows = fair(300, 0, USUAL);
    for (number, row) in rows.iter_mut().enumerate() {
        row.1 = Some(if number < 4 { "dog" } else { "cat" });
    }
    let balance = audited(&rows, None).0.class_balance.expect("labels");
    assert_eq!((balance.of.as_str(), balance.rows, balance.empty, balance.rare), ("label", 300, 1, 1));
    assert_eq!(balance.imbalance_ratio, 74.0);
    rows.iter_mut().for_each(|row| row.1 = None);
    let (summary, _, _) = audited(&rows, None);
    let balance = summary.class_balance.expect("predictions");
    assert_eq!((balance.of.as_str(), balance.rows), ("prediction", 300));
    assert!(summary.class_accuracy.is_none() && summary.coverage.is_none() && summary.spurious_correlations.is_none());
    let estimate = &summary.estimated_accuracy.expect("a model").estimates[0];
    assert_eq!((estimate.rows, estimate.labelled, estimate.accuracy), (300, 0, None));
}

#[test]
fn accuracies_agree_and_add_up() {
    let mut rows = fair(180, 0, USUAL);
    rows[7].1 = None;
    let (summary, page, _) = audited(&rows, None);
    let by_class = summary.class_accuracy.expect("labels");
    assert_eq!(by_class.rows, 179);
    assert_eq!(by_class.confusion.iter().map(|cell| cell.rows).sum::<f64>(), 179.0);
    assert_eq!(by_class.classes.iter().map(|class| class.predicted).sum::<u64>(), 179);
    let correct: u64 = by_class.classes.iter().map(|class| class.correct).sum();
    assert_eq!(by_class.accuracy.value, correct as f64 / 179.0);
    let estimated = summary.estimated_accuracy.expect("a model");
    let places: Vec<_> =
        estimated.estimates.iter().map(|found| (found.by.as_deref(), found.value.as_deref())).collect();
    assert_eq!(places, [(None, None), (Some("camera"), Some("a")), (Some("camera"), Some("b"))]);
    let [all, a, b] = &estimated.estimates[..] else { panic!("three") };
    assert_eq!((all.rows, all.labelled, a.rows + b.rows), (180, 179, 180));
    assert_eq!(all.accuracy, Some(by_class.accuracy));
    let mean = (a.estimated.value * a.rows as f64 + b.estimated.value * b.rows as f64) / 180.0;
    assert!((all.estimated.value - mean).abs() < 1e-9);
    // The heat map of labels and predictions is shown once.
    assert_eq!(page.matches("class=\"heat\"").count(), 1);
    let coverage = summary.coverage.expect("sets");
    let classes = coverage.coverages.iter().filter(|found| found.by.as_deref() == Some("label"));
    assert_eq!(classes.map(|found| found.covered).sum::<u64>(), coverage.coverages[0].covered);
    assert_eq!(coverage.coverages[0].rows, 179);
}

#[test]
fn drift_of_labels_and_properties() {
    let reference = fair(300, 1000, USUAL);
    let test = |summary: &AuditSummary, quantity: Quantity| -> Option<DriftTest> {
        let drift = summary.drift.as_ref().expect("a reference");
        drift.tests.iter().find(|test| test.by.is_none() && test.quantity == quantity).cloned()
    };
    let is_found = |summary: &AuditSummary, quantity: Quantity| {
        test(summary, quantity).is_some_and(|test| test.significant && test.psi > 0.25)
    };
    let property = Quantity::Property;
    // Darker, half of them as JPEG, and no ships.
    let mut rows = fair(300, 0, Look { light: 90, ..USUAL });
    for (number, row) in rows.iter_mut().enumerate() {
        if number % 2 == 0 {
            row.0 = picture(Look { light: 90, format: ImageFormat::Jpeg, ..USUAL }, number as u64);
        }
        row.1 = Some(CLASSES[number % 2]);
    }
    let (summary, page, _) = audited(&rows, Some(&reference));
    for (_, text) in answers(&page) {
        let runs_on = text.as_bytes().windows(3).any(|at| {
            at[0].is_ascii_lowercase() && at[1] == b'.' && (at[2].is_ascii_uppercase() || at[2].is_ascii_digit())
        });
        assert!(!runs_on, "{text}");
    }
    for quantity in [property(Property::Light), property(Property::Format), property(Property::Bytes), Quantity::Label]
    {
        assert!(is_found(&summary, quantity), "{quantity:?}: {:?}", test(&summary, quantity));
    }
    assert_eq!(test(&summary, property(Property::Size)), None, "all have one size");
    let drift = summary.drift.as_ref().expect("a reference");
    assert!(drift.tests.iter().any(|test| test.value.as_deref() == Some("b") && test.significant));
    assert!(page.contains("light (PSI"));

    let (summary, _, _) = audited(&fair(300, 0, USUAL), Some(&reference));
    for quantity in Property::ALL.map(property).into_iter().chain([Quantity::Label]) {
        assert!(!is_found(&summary, quantity), "{quantity:?}: {:?}", test(&summary, quantity));
    }
}

#[test]
fn grey_images_among_coloured_ones() {
    let mut rows = fair(60, 0, USUAL);
    for row in [5, 17] {
        rows[row].0 = picture(Look { is_grey: true, format: ImageFormat::Jpeg, ..USUAL }, row as u64);
    }
    let (summary, _, findings) = audited(&rows, None);
    let found = findings(Kind::Grey);
    assert_eq!((found.len(), summary.of(Kind::Grey), summary.quality.grey), (2, 2, 2));
    assert!(found[0].1.contains("96.7 % of the images have colour"), "{found:?}");
    let grey = fair(60, 0, Look { is_grey: true, ..USUAL });
    assert_eq!(audited(&grey, None).0.of(Kind::Grey), 0);
}
