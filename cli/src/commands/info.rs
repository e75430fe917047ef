//! `dismax info`.

use std::collections::BTreeMap;
use std::path::Path;

use dismax::dataset::{Dataset, ImageColumn, RowLabels};
use dismax::model::{Model, ModelConfig, ModelInput};
use dismax::text::harmless;
use dismax::{Error, Result};
use serde::Serialize;

use crate::args::{ImageArgs, InputArgs, LabelArgs, listing};
use crate::context::Context;
use crate::exit::Outcome;
use crate::report::{CalibrationReport, unknown_line};
use crate::{text, ui};

pub const EXAMPLES: &str = "\
Examples:
  dismax info model
  dismax info train.parquet
  dismax info 'photos/*.parquet' --json

Of a model: what it is, how it was calibrated, and whether this machine reproduces the outputs that the bundle expects. Of a
dataset: its columns, which of them hold images and labels, how many rows each class has, and how large images are.";

/// Rows whose images are decoded for their sizes.
const SAMPLE: usize = 64;

/// Flags of `dismax info`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A model's folder, or a dataset: files, folders, patterns.
    #[arg(required = true, value_name = "MODEL|DATASET")]
    inputs: Vec<String>,

    /// Print it as JSON to standard output.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    images: ImageArgs,

    #[command(flatten)]
    labels: LabelArgs,

    /// Device on which a model's outputs are checked.
    #[arg(
        long,
        env = "DISMAX_DEVICE",
        hide_env_values = true,
        default_value_t = dismax::Device::Auto,
        help_heading = "Machine"
    )]
    device: dismax::Device,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    match args.inputs.as_slice() {
        [only] if is_model(Path::new(only)) => model(args, only),
        inputs => dataset(args, inputs, context),
    }
}

/// A damaged bundle still has most of its files.
fn is_model(path: &Path) -> bool {
    ["SHA256SUMS", "config.json", "model.safetensors"].iter().any(|name| path.join(name).is_file())
}

#[derive(Debug, Serialize)]
struct ModelReport<'a> {
    model: &'a str,
    digest: &'a str,
    config: &'a ModelConfig,
    epochs: usize,
    calibration: Option<CalibrationReport>,
    /// Examples of unknown images that the model keeps.
    unknown_examples: u64,
    device: String,
    /// Largest difference of a logit from the expected one.
    self_check_difference: f32,
}

fn model(args: &Args, name: &str) -> Result<Outcome> {
    let model = Model::read(name)?;
    let (device, difference) = match model.input() {
        ModelInput::Images(_) => {
            let device = args.device.resolve()?;
            (device, model.self_check().verify(&model.scorer(device)?))
        }
        ModelInput::Embeddings(_) => {
            (dismax::Device::Cpu.resolve()?, model.self_check().verify_embeddings(&model.embedding_scorer()?))
        }
    };
    let difference = difference.map_err(|message| Error::model(name, message))?;
    let report = ModelReport {
        model: name,
        digest: model.digest(),
        config: model.config(),
        epochs: model.history().map_or(0, |history| history.epochs.len()),
        calibration: CalibrationReport::of(&model),
        unknown_examples: model.unknown_examples(),
        device: format!("{device:?}").to_lowercase(),
        self_check_difference: difference,
    };
    if args.json {
        ui::print(&ui::json(&report)?)?;
        return Ok(Outcome::Done);
    }
    let config = report.config;
    let mut lines = vec![
        ("model", name.to_owned()),
        ("network", config.input.to_string()),
        ("classes", format!("{}: {}", config.classes.len(), listing(&config.classes, 20))),
    ];
    if let Some(images) = config.input.images() {
        lines.push(("images", format!("{}x{} pixels", images.preprocessing.height, images.preprocessing.width)));
    }
    lines.push(("origin", harmless(&config.origin)));
    match &report.calibration {
        Some(calibration) => lines.extend(calibration.lines()),
        None => lines.push(("calibration", format!("none; run `dismax calibrate {name} --data VALIDATION`"))),
    }
    lines.extend(unknown_line(&model));
    lines.push(("digest", report.digest.to_owned()));
    lines
        .push(("self-check", format!("outputs reproduced on {} (largest difference {difference:.1e})", report.device)));
    ui::print_text(&text::list(&lines))?;
    Ok(Outcome::Done)
}

#[derive(Debug, Default, Serialize)]
struct DatasetReport {
    files: Vec<String>,
    rows: Option<u64>,
    columns: Vec<(String, String)>,
    image_column: Option<String>,
    /// Why there is none.
    image_problem: Option<String>,
    label_column: Option<String>,
    label_problem: Option<String>,
    /// Rows of each class, in the order of the classes.
    classes: Vec<(String, u64)>,
    unlabelled: u64,
    /// Sizes (width x height) of the first images, with how often each occurs.
    image_sizes: BTreeMap<String, u64>,
    /// Images among them that cannot be used, by code.
    image_errors: BTreeMap<String, u64>,
}

fn dataset(args: &Args, inputs: &[String], context: &Context) -> Result<Outcome> {
    let dataset = Dataset::open_with(inputs, args.input.options(&context.cancel))?;
    let mut report = DatasetReport {
        files: dataset.files().map(str::to_owned).collect(),
        rows: dataset.rows(),
        columns: dataset.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().to_string())).collect(),
        ..DatasetReport::default()
    };
    match dataset.image_column(args.images.image.as_deref()) {
        Ok(column) => sample(&dataset, &column, args, &mut report)?,
        Err(error) => report.image_problem = Some(error.to_string()),
    }
    match dataset.label_column(args.labels.label.as_deref()) {
        Ok(column) => {
            report.label_column = Some(column.name().to_owned());
            match RowLabels::read(&dataset, &column, None) {
                Ok(labels) => count_classes(&labels, &mut report),
                Err(error) => report.label_problem = Some(error.to_string()),
            }
        }
        Err(error) => report.label_problem = Some(error.to_string()),
    }
    context.cancel.check()?;
    match args.json {
        true => ui::print(&ui::json(&report)?)?,
        false => ui::print_text(&describe(&report))?,
    }
    Ok(Outcome::Done)
}

fn sample(dataset: &Dataset, column: &ImageColumn, args: &Args, report: &mut DatasetReport) -> Result<()> {
    report.image_column = Some(column.name().to_owned());
    let Some(chunk) = dataset.read(SAMPLE, Some(&[column.index()]))?.next() else { return Ok(()) };
    let chunk = chunk?;
    let images = column.images(&chunk)?;
    for row in 0..images.len() {
        let (counts, key) = match args.images.load().load(&images, row) {
            Ok(image) => (&mut report.image_sizes, format!("{}x{}", image.width, image.height)),
            Err(error) => (&mut report.image_errors, error.code.as_str().to_owned()),
        };
        *counts.entry(key).or_default() += 1;
    }
    Ok(())
}

fn count_classes(labels: &RowLabels, report: &mut DatasetReport) {
    let mut counts = vec![0u64; labels.names.len()];
    for class in &labels.classes {
        match class.and_then(|class| counts.get_mut(class as usize)) {
            Some(count) => *count += 1,
            None => report.unlabelled += 1,
        }
    }
    report.rows.get_or_insert(labels.classes.len() as u64);
    report.classes = labels.names.iter().cloned().zip(counts).collect();
}

fn describe(report: &DatasetReport) -> String {
    let counts = |counts: &BTreeMap<String, u64>| {
        listing(counts.iter().map(|(key, count)| format!("{} {key}", text::count(*count))), 10)
    };
    let mut lines = vec![
        ("files", listing(&report.files, 5)),
        ("rows", report.rows.map_or("unknown before reading".to_owned(), text::count)),
        ("columns", listing(report.columns.iter().map(|(name, kind)| format!("{name} ({kind})")), 30)),
    ];
    match (&report.image_column, &report.image_problem) {
        (Some(column), _) => lines.push(("images", format!("in column \"{column}\""))),
        (None, problem) => lines.push(("images", problem.clone().unwrap_or_default())),
    }
    if !report.image_sizes.is_empty() {
        lines.push(("sizes", format!("{} (of the first rows)", counts(&report.image_sizes))));
    }
    if !report.image_errors.is_empty() {
        lines.push(("unusable", format!("{} (of the first rows)", counts(&report.image_errors))));
    }
    if let Some(column) = &report.label_column {
        lines.push(("labels", format!("in column \"{column}\"")));
    }
    lines.extend(report.label_problem.iter().map(|problem| ("labels", problem.clone())));
    if !report.classes.is_empty() {
        let classes = report.classes.iter().map(|(name, count)| format!("{name} {}", text::count(*count)));
        lines.push(("classes", format!("{}: {}", report.classes.len(), listing(classes, 20))));
    }
    if report.unlabelled > 0 {
        lines.push(("unlabelled", text::rows(report.unlabelled)));
    }
    text::list(&lines)
}
