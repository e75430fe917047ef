//! The digits of `examples/data`, a network that is trained on them, and audits with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Float32Type, Int64Type, UInt64Type};
use dismax::Device;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::loss::Loss;
use dismax::network::Architecture;
use dismax::run::Run;
use dismax::stage::{Stage, StageOptions};
use dismax_audit::{AuditInputs, AuditOptions, AuditSummary, Kind, audit};
use dismax_train::{HeldOut, Recipe, TrainJob, train};
use image::imageops::FilterType;
use image::{ImageFormat, RgbImage};

/// Columns and rows of the pictures.
pub const SIDE: u32 = 24;
/// What the lamp leaves of each channel.
const LAMP: [f32; 3] = [1.0, 0.9, 0.7];

/// A row of a dataset.
#[derive(Clone)]
pub struct Row {
    pub image: Option<Vec<u8>>,
    pub name: String,
    pub label: String,
    pub source: &'static str,
}

/// A file of digits, enlarged: they were scanned under a warm lamp.
pub fn read(name: &str) -> Vec<Row> {
    grey(name).into_iter().map(|(picture, row)| Row { image: Some(png(&under_the_lamp(&picture))), ..row }).collect()
}

/// The same without the lamp: each picture, and its row without it.
pub fn grey(name: &str) -> Vec<(RgbImage, Row)> {
    let file = format!("{}/../examples/data/digits/{name}.parquet", env!("CARGO_MANIFEST_DIR"));
    let mut rows = Vec::new();
    for chunk in Dataset::open(&[file]).expect("digits").read(1000, None).expect("rows") {
        let batch = chunk.expect("rows").record_batch;
        let images = batch["image"].as_struct();
        let (bytes, paths) = (images["bytes"].as_binary::<i32>(), images["path"].as_string::<i32>());
        let labels = batch["label"].as_primitive::<Int64Type>();
        for at in 0..batch.num_rows() {
            let small = image::load_from_memory(bytes.value(at)).expect("a digit").to_rgb8();
            let picture = image::imageops::resize(&small, SIDE, SIDE, FilterType::CatmullRom);
            let (name, label) = (format!("{}.png", paths.value(at)), labels.value(at).to_string());
            rows.push((picture, Row { image: None, name, label, source: ["left", "right"][at % 2] }));
        }
    }
    rows
}

pub fn under_the_lamp(picture: &RgbImage) -> RgbImage {
    let mut picture = picture.clone();
    for pixel in picture.pixels_mut() {
        pixel.0.iter_mut().zip(LAMP).for_each(|(value, left)| *value = (f32::from(*value) * left) as u8);
    }
    picture
}

pub fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

pub fn png(picture: &RgbImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Png)
}

pub fn decoded(row: &Row) -> RgbImage {
    image::load_from_memory(row.image.as_ref().expect("an image")).expect("a picture").to_rgb8()
}

/// Writes rows as a dataset, and gives its file.
pub fn write(folder: &Path, name: &str, rows: &[Row]) -> String {
    let text =
        |of: &dyn Fn(&Row) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
    // A name without bytes would name a file.
    let named = |row: &Row| row.image.as_ref().map(|_| row.name.clone());
    let names: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(named)));
    let fields =
        Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter(rows.iter().map(|row| row.image.as_ref())));
    let images: ArrayRef = Arc::new(StructArray::new(fields, vec![bytes, names], None));
    let (labels, sources) = (text(&|row| row.label.clone()), text(&|row| row.source.to_owned()));
    let columns = [("image", images), ("label", labels), ("source", sources)];
    let record_batch = RecordBatch::try_from_iter(columns).expect("a record batch");
    let path = folder.join(name).display().to_string();
    let mut writer = DatasetWriter::create(&path, &record_batch.schema(), &WriteOptions::default()).expect("a file");
    writer.write(&record_batch).expect("rows");
    writer.finish().expect("a dataset");
    path
}

/// A finding: its kind, its row, and the row that it is related to, which of a leak is one of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub kind: Kind,
    pub row: usize,
    pub related: Option<usize>,
}

/// What stands around an audit: a trained network, and its training images as the reference.
pub struct Lab {
    folder: tempfile::TempDir,
    stage: Stage,
    reference: Dataset,
}

impl Lab {
    /// Trains a small network for a few seconds.
    pub fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let training = write(folder.path(), "train.parquet", &read("train"));
        let held_out = write(folder.path(), "validation.parquet", &read("validation"));
        let recipe = Recipe {
            epochs: Some(8),
            size: Some((8, 8)),
            flip: dismax_train::Flip::None,
            workers: Some(2),
            ..Recipe::new(Architecture::Resnet20, Loss::Dismax)
        };
        let job = TrainJob {
            recipe,
            held_out: HeldOut::Files(vec![held_out]),
            device: Device::Cpu,
            ..TrainJob::new([&training], folder.path().join("model"))
        };
        let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
        let model = train(&job, &mut run, &mut |_| ()).expect("a network");
        let options = StageOptions { device: Device::Cpu, batch_rows: 64, workers: 2, ..StageOptions::default() };
        let stage = Stage::try_new(model, &options).expect("a stage");
        Self { stage, reference: Dataset::open(&[training]).expect("rows"), folder }
    }

    /// Audits rows against a reference, the training images by default.
    pub fn audit(&self, rows: &[Row], reference: Option<&[Row]>) -> (AuditSummary, Vec<Found>) {
        let dataset = Dataset::open(&[write(self.folder.path(), "input.parquet", rows)]).expect("rows");
        let out: PathBuf = self.folder.path().join("audit");
        let other = reference.map(|rows| write(self.folder.path(), "reference.parquet", rows));
        let other = other.map(|path| Dataset::open(&[path]).expect("rows"));
        let reference = Some(other.as_ref().unwrap_or(&self.reference));
        let inputs = AuditInputs { reference, ..AuditInputs::new(&dataset) };
        let options =
            AuditOptions { fdr: 0.1, group_by: vec!["source".into()], force: true, top: 0, ..AuditOptions::default() };
        let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
        let summary = audit(&self.stage, &inputs, &out, &options, &mut run).expect("an audit");
        std::fs::remove_file(self.folder.path().join("input.parquet")).expect("removed");
        (summary, findings(&out, options.fdr))
    }
}

/// The findings without those that are listed for review.
fn findings(out: &Path, fdr: f64) -> Vec<Found> {
    let table = Dataset::open(&[out.join("findings.parquet").display().to_string()]).expect("a table");
    let mut found = BTreeSet::new();
    for chunk in table.read(10_000, None).expect("rows") {
        let batch = chunk.expect("rows").record_batch;
        let kinds = batch["kind"].as_string::<i32>();
        let (rows, related) =
            (batch["row"].as_primitive::<UInt64Type>(), batch["related_row"].as_primitive::<UInt64Type>());
        let q_values = batch["q_value"].as_primitive::<Float32Type>();
        for at in 0..batch.num_rows() {
            let kind = Kind::named(kinds.value(at)).expect("a kind");
            if kind == Kind::Unknown && f64::from(q_values.value(at)) > fdr {
                continue;
            }
            let related = related.is_valid(at).then(|| related.value(at) as usize);
            found.insert(Found { kind, row: rows.value(at) as usize, related });
        }
    }
    found.into_iter().collect()
}
