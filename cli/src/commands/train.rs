//! `dismax train`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use dismax::Result;
use dismax::calibration::CalibrationOptions;
use dismax::embedding::EmbeddingHead;
use dismax::loss::Loss;
use dismax::model::EpochRecord;
use dismax::model::Model;
use dismax::network::Architecture;
use dismax::{Device, Error};
use dismax_train::{HeldOut, Recipe, Schedule, TrainEvent, TrainJob, TrainingPlan, checkpoint_path, train};
use serde::Serialize;

use super::train_embeddings;
use crate::args::{
    self, CalibrationArgs, ImageArgs, InputArgs, LabelArgs, Rgb, architectures, at_least_one, heads, losses, named,
    positive,
};
use crate::context::Context;
use crate::exit::Outcome;
use crate::report::CalibrationReport;
use crate::{text, ui};

pub const EXAMPLES: &str = "\
Examples:
  # Labelled images; a tenth of each class is held out for validation, calibration and thresholds
  dismax train train.parquet --out model
  # Without mirroring, for digits and text
  dismax train digits.parquet --out model --no-flip --epochs 15
  # The recipe of the paper
  dismax train train.parquet --out model --arch resnet34 --loss dismax-dagger --schedule multi-step --epochs 300
  # After an interruption
  dismax train train.parquet --out model --resume
  # On embeddings that another network made: one pass, no epochs
  dismax train vectors.parquet --embedding clip --out model

After every epoch, on a GPU once a minute, a checkpoint is written next to the model. --resume with the same flags continues
from it; on a CPU the result is the same bit for bit. The model folder holds the network, its calibration, a model card and a training chart.";

/// Flags of `dismax train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled training images: Parquet, Arrow or tar files, folders of these or of images, addresses, patterns.
    #[arg(required = true, value_name = "TRAIN")]
    pub inputs: Vec<String>,

    /// Folder to write the model to.
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,

    /// Replace an existing model and, without --resume, its checkpoint.
    #[arg(long)]
    pub force: bool,

    /// Continue from the checkpoint of an interrupted training if there is one.
    #[arg(long, conflicts_with = "embedding")]
    resume: bool,

    /// Rows for validation, calibration and thresholds: a fraction of every class, or files (repeatable).
    #[arg(long, value_name = "FRACTION|FILE", default_value = "0.1")]
    pub validation: Vec<String>,

    /// Print the result as JSON to standard output.
    #[arg(long)]
    pub json: bool,

    /// Network architecture. The first four are for small images, resnet18 is for photographs.
    #[arg(long, value_parser = architectures(), default_value_t = Architecture::Resnet20, conflicts_with = "embedding", help_heading = "Recipe")]
    arch: Architecture,

    /// Loss; it also determines the head. dismax-dagger adds fractional probability regularization, for large networks and
    /// long trainings.
    #[arg(long, value_parser = losses(), default_value_t = Loss::Dismax, conflicts_with = "embedding", help_heading = "Recipe")]
    loss: Loss,

    /// Passes over the training rows [default: 30 for one-cycle, 100 on a GPU with batches of 512 or more; else
    /// 300].
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "embedding", help_heading = "Recipe")]
    epochs: Option<usize>,

    /// Rows per optimiser step [default: 64; 512 for one-cycle on a GPU with 32,768 training rows or more].
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "embedding", help_heading = "Recipe")]
    batch_size: Option<usize>,

    /// Peak learning rate [default: 0.1; 0.4 for one-cycle on a GPU with batches of 512 or more].
    #[arg(long, value_name = "X", value_parser = positive, conflicts_with = "embedding", help_heading = "Recipe")]
    lr: Option<f64>,

    /// L2 penalty on all parameters [default: 5e-4 for one-cycle, else 1e-4].
    #[arg(long, value_name = "X", conflicts_with = "embedding", help_heading = "Recipe")]
    weight_decay: Option<f64>,

    /// Learning rate schedule [default: one-cycle].
    #[arg(long, value_parser = named::<Schedule, _>(Schedule::ALL.map(Schedule::name)), conflicts_with = "embedding", help_heading = "Recipe")]
    schedule: Option<Schedule>,

    /// Random seed for held-out rows, initial weights, row order and augmentation.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Recipe")]
    pub seed: u64,

    /// Input size of the network, 32 or HEIGHTxWIDTH [default: the images' size if the first 64 share a small one, else
    /// 32; 224 for resnet18].
    #[arg(long, value_name = "SIZE", value_parser = args::size, conflicts_with = "embedding", help_heading = "Recipe")]
    image_size: Option<(u32, u32)>,

    /// No random mirroring: for digits, text and anything that has a left and a right.
    #[arg(long, conflicts_with = "embedding", help_heading = "Recipe")]
    no_flip: bool,

    /// No random cropping.
    #[arg(long, conflicts_with = "embedding", help_heading = "Recipe")]
    no_crop: bool,

    /// Channel means from 0 to 1 [default: measured on the training images].
    #[arg(long, value_name = "R,G,B", requires = "std", conflicts_with = "embedding", help_heading = "Recipe")]
    mean: Option<Rgb>,

    /// Channel standard deviations from 0 to 1 [default: measured on the training images].
    #[arg(long, value_name = "R,G,B", requires = "mean", conflicts_with = "embedding", help_heading = "Recipe")]
    std: Option<Rgb>,

    /// Head on embeddings, with --embedding. mahalanobis finds rows that are far from everything better, dismax those
    /// between the classes.
    #[arg(long, value_parser = heads(), default_value_t = EmbeddingHead::Dismax, requires = "embedding", help_heading = "Recipe")]
    pub head: EmbeddingHead,

    #[command(flatten)]
    pub calibration: CalibrationArgs,

    #[command(flatten)]
    pub input: InputArgs,

    #[command(flatten)]
    images: ImageArgs,

    #[command(flatten)]
    pub labels: LabelArgs,

    /// Where to train: auto, cpu, cuda or cuda:N.
    #[arg(
        long,
        env = "DISMAX_DEVICE",
        hide_env_values = true,
        default_value_t = Device::Auto,
        help_heading = "Machine"
    )]
    device: Device,

    /// Replicas of the network that compute at the same time, on a CPU 32 rows each [default: one per core on a CPU, one on a
    /// GPU]. Does not change the result on a CPU.
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Machine")]
    workers: Option<usize>,

    /// Memory for decoded training images. A larger dataset is read again in every epoch.
    #[arg(long, value_name = "SIZE", value_parser = args::bytes, default_value = "8GiB", help_heading = "Machine")]
    memory: u64,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    model: &'a str,
    model_digest: &'a str,
    epochs: usize,
    last_epoch: Option<&'a EpochRecord>,
    calibration: Option<CalibrationReport>,
    uncalibrated_because: Option<&'a str>,
    /// Damaged files that were left out, with the reason of each.
    bad_files: &'a BTreeMap<String, String>,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    if let Some(embedding) = &args.images.embedding {
        return train_embeddings::run(args, embedding, context);
    }
    let job = job(args)?;
    let mut narrator = Narrator::new(context);
    let result = context.watch(|run| train(&job, run, &mut |event| narrator.tell(event)));
    let checkpoint = checkpoint_path(&job.out);
    if matches!(result, Err(Error::Cancelled)) && checkpoint.exists() {
        let checkpoint = checkpoint.display();
        context.ui.note(format!("{checkpoint} has the last checkpoint; continue with the same command and --resume"));
    }
    let model = result?;
    describe(&model, &job.out, context);
    if args.json {
        let name = job.out.display().to_string();
        ui::print(&ui::json(&Summary {
            model: &name,
            model_digest: model.digest(),
            epochs: model.history().map_or(0, |history| history.epochs.len()),
            last_epoch: model.history().and_then(|history| history.epochs.last()),
            calibration: CalibrationReport::of(&model),
            uncalibrated_because: narrator.uncalibrated_because.as_deref(),
            bad_files: &narrator.bad_files,
        })?)?;
    }
    Ok(if model.calibration().is_some() { Outcome::Done } else { Outcome::Incomplete })
}

fn job(args: &Args) -> Result<TrainJob> {
    Ok(TrainJob {
        image: args.images.image.clone(),
        label: args.labels.label.clone(),
        held_out: held_out(&args.validation)?,
        recipe: Recipe {
            epochs: args.epochs,
            batch_size: args.batch_size,
            learning_rate: args.lr,
            weight_decay: args.weight_decay,
            schedule: args.schedule,
            size: args.image_size,
            crop: !args.no_crop,
            flip: !args.no_flip,
            normalization: args.mean.zip(args.std).map(|(mean, std)| (mean.0, std.0)),
            seed: args.seed,
            workers: args.workers,
            ..Recipe::new(args.arch, args.loss)
        },
        calibration: args.calibration.options(CalibrationOptions { seed: args.seed, ..CalibrationOptions::default() }),
        device: args.device,
        resume: args.resume,
        force: args.force,
        on_bad_file: args.input.on_bad_file(),
        load: args.images.load(),
        memory_bytes: args.memory,
        ..TrainJob::new(args.inputs.iter().map(String::as_str), &args.out)
    })
}

pub fn held_out(values: &[String]) -> Result<HeldOut> {
    let fractions: Vec<f64> = values.iter().filter_map(|value| value.parse().ok()).collect();
    match (fractions.as_slice(), values.len()) {
        ([fraction], 1) => Ok(HeldOut::Fraction(*fraction)),
        ([], _) => Ok(HeldOut::Files(values.to_vec())),
        _ => Err(Error::Config("--validation takes either one fraction such as 0.1 or files, not both".into())),
    }
}

pub fn describe(model: &Model, out: &Path, context: &Context) {
    let name = out.display().to_string();
    let mut lines = vec![("model", name.clone())];
    let report = CalibrationReport::of(model);
    report.iter().flat_map(CalibrationReport::warnings).for_each(|warning| context.ui.warn(warning));
    lines.extend(report.iter().flat_map(CalibrationReport::lines));
    lines.push((
        "next",
        match report {
            Some(_) => format!(
                "dismax evaluate --model {name} --id TEST --ood OTHER\ndismax score INPUT --model {name} --out OUTPUT"
            ),
            None => format!("dismax calibrate {name} --data VALIDATION"),
        },
    ));
    context.ui.note(text::list(&lines));
}

/// Tells people what happens while it trains.
struct Narrator<'a> {
    context: &'a Context,
    start: Instant,
    epochs: usize,
    finished_before: usize,
    uncalibrated_because: Option<String>,
    bad_files: BTreeMap<String, String>,
}

impl<'a> Narrator<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            start: Instant::now(),
            epochs: 0,
            finished_before: 0,
            uncalibrated_because: None,
            bad_files: BTreeMap::new(),
        }
    }

    fn tell(&mut self, event: TrainEvent<'_>) {
        match event {
            TrainEvent::Begin(plan) => self.begin(&plan),
            TrainEvent::Epoch(record) => self.epoch(record),
            TrainEvent::Uncalibrated(error) => {
                self.context.ui.incomplete(format!("the model is written without calibration: {error}"));
                self.uncalibrated_because = Some(error.to_string());
            }
        }
    }

    fn begin(&mut self, plan: &TrainingPlan<'_>) {
        let TrainingPlan { options, train_rows, held_out_rows, min_calibration_rows, finished_epochs, .. } = *plan;
        let ui = &self.context.ui;
        let held_out = text::rows(held_out_rows as u64);
        self.bad_files = args::reasons(plan.bad_files);
        if let Some(example) = &plan.left_out.example {
            ui.warn(format!("{} left out; the first: {example}", text::rows(plan.left_out.rows)));
        }
        if !plan.unseen_classes.is_empty() {
            let names = args::listing(plan.unseen_classes, 10);
            ui.warn(format!("no training rows for these classes: {names}; the model will hardly ever predict them"));
        }
        if held_out_rows < min_calibration_rows {
            ui.warn(format!(
                "{held_out} held out, but thresholds need {min_calibration_rows}: the model will not be calibrated; raise \
                 --validation or --alpha"
            ));
        }
        ui.note(format!(
            "training {} with {} on {} of {}x{} pixels{}; {held_out} held out",
            options.architecture,
            options.loss,
            text::rows(train_rows as u64),
            options.size.0,
            options.size.1,
            if plan.streaming { ", read again in every epoch" } else { "" },
        ));
        if finished_epochs > 0 {
            ui.note(format!("continuing after epoch {finished_epochs} of {}", options.epochs));
        }
        (self.epochs, self.finished_before) = (options.epochs, finished_epochs);
        self.start = Instant::now();
    }

    fn epoch(&self, record: &EpochRecord) {
        let done = (record.epoch - self.finished_before).max(1) as f64;
        let left = self.start.elapsed().as_secs_f64() / done * (self.epochs - record.epoch) as f64;
        self.context.ui.note(format!(
            "epoch {:>3}/{}  loss {:.4}  accuracy {:>6}  held out {:>6} (nll {:.4})  lr {:.5}  {} images/s  {} left",
            record.epoch,
            self.epochs,
            record.train_objective,
            text::percent(record.train_accuracy),
            text::percent(record.validation_accuracy),
            record.validation_nll,
            record.learning_rate,
            text::rate(record.images_per_second),
            text::clock(left)
        ));
    }
}
