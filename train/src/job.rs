//! A whole training: datasets in, a calibrated bundle out.

use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, TrainingState};
use super::error::TrainError;
use super::options::TrainOptions;
use super::prepare::Data;
use super::recipe::Recipe;
use super::run::{TrainContext, TrainEvent, Trained, run};
use dismax::calibration::{CalibrationOptions, rows_to_flag};
use dismax::cancel::Cancel;
use dismax::dataset::LoadOptions;
use dismax::device::Device;
use dismax::error::{Error, Result};
use dismax::image::Preprocessing;
use dismax::loss::Loss;
use dismax::metrics::LabelledLogits;
use dismax::model::{EpochRecord, FORMAT_VERSION, Model, ModelConfig, TrainingHistory};
use dismax::network::Architecture;

/// Which rows are held out of training, for validation, calibration and thresholds.
#[derive(Debug, Clone, PartialEq)]
pub enum HeldOut {
    /// A share of every class, in (0, 1), chosen by the seed.
    Fraction(f64),
    /// Rows of other files.
    Files(Vec<String>),
}

/// What to train on, how, and where the bundle goes.
#[derive(Debug, Clone)]
pub struct TrainJob {
    /// Files, folders or patterns with labelled images.
    pub inputs: Vec<String>,
    /// Folder of the bundle.
    pub out: PathBuf,
    /// Image column; the only one that fits where none is named.
    pub image: Option<String>,
    /// Label column; the one with a usual name where none is named.
    pub label: Option<String>,
    /// Held-out rows.
    pub held_out: HeldOut,
    /// How to train.
    pub recipe: Recipe,
    /// How to calibrate afterwards.
    pub calibration: CalibrationOptions,
    /// Where to train.
    pub device: Device,
    /// Whether to continue from the checkpoint beside `out`.
    pub resume: bool,
    /// Whether to replace an existing bundle or checkpoint.
    pub force: bool,
    /// How images are loaded.
    pub load: LoadOptions,
    /// Bytes that decoded training images may take; a larger dataset streams.
    pub memory_bytes: u64,
}

impl TrainJob {
    /// Trains a ResNet-20 with DisMax on `inputs` wherever there is a device, holds a tenth of the rows out, and keeps up
    /// to 8 GiB of decoded images in memory.
    pub fn new<S: Into<String>>(inputs: impl IntoIterator<Item = S>, out: impl Into<PathBuf>) -> Self {
        Self {
            inputs: inputs.into_iter().map(Into::into).collect(),
            out: out.into(),
            image: None,
            label: None,
            held_out: HeldOut::Fraction(0.1),
            recipe: Recipe::new(Architecture::Resnet20, Loss::Dismax),
            calibration: CalibrationOptions::default(),
            device: Device::Auto,
            resume: false,
            force: false,
            load: LoadOptions::default(),
            memory_bytes: 8 << 30,
        }
    }
}

/// What the caller hears.
#[derive(Debug)]
pub enum JobEvent<'a> {
    /// Rows read so far, and all rows where that is known.
    Reading {
        /// Rows read.
        rows: u64,
        /// Rows in all.
        of: Option<u64>,
    },
    /// The data are read and the training begins.
    Begin {
        /// Every option, also the derived ones.
        options: &'a TrainOptions,
        /// Rows trained on.
        train_rows: usize,
        /// Rows held out.
        held_out_rows: usize,
        /// Fewest held-out rows that thresholds at the job's alpha need. With fewer the model stays uncalibrated.
        calibration_rows: usize,
        /// Rows left out: no label or no usable image.
        left_out: u64,
        /// The first row left out, with its reason.
        example: Option<&'a str>,
        /// Classes that no row is trained on.
        unseen_classes: &'a [String],
        /// Whether images are read anew in every epoch.
        streaming: bool,
        /// Epochs already done by an earlier run.
        finished_epochs: usize,
    },
    /// From the training loop.
    Train(TrainEvent<'a>),
    /// The model could not be calibrated; it is written without calibration.
    Uncalibrated(&'a Error),
}

/// Where a training that writes its bundle to `out` keeps its checkpoint.
pub fn checkpoint_path(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".checkpoint");
    out.with_file_name(name)
}

/// Trains, calibrates on the held-out rows and writes the bundle.
///
/// # Errors
/// Data that cannot be learnt from, options that do not fit, [`Error::Cancelled`] after a stop (the checkpoint stays), a
/// bundle or checkpoint in the way.
pub fn train(job: &TrainJob, cancel: &Cancel, observe: &mut dyn FnMut(JobEvent<'_>)) -> Result<Model> {
    let device = job.device.resolve()?;
    let checkpoint_file = checkpoint_path(&job.out);
    check_places(job, &checkpoint_file)?;
    // Options that cannot be are refused before the images are decoded.
    job.recipe.options(&job.recipe.preprocessing(None)?, device)?;
    let data = Data::read(job, cancel, observe)?;
    let options = job.recipe.options(&data.preprocessing, device)?;
    let held_out_rows: Vec<usize> = data.held_out_rows.clone();

    let mut state = TrainingState { options, classes: data.names.clone(), data: data.state(job), history: Vec::new() };
    // What can be known now must not be found out after hours of training.
    config(&data, &state).validate()?;
    let mut resume = None;
    if job.resume && checkpoint_file.exists() {
        let checkpoint = Checkpoint::read(&checkpoint_file)?;
        checkpoint.state.require_same(&state, &checkpoint_file)?;
        state.history.clone_from(&checkpoint.state.history);
        resume = Some(checkpoint);
    } else if checkpoint_file.exists() {
        // Replaced on request: a stop before the first new one must not offer to continue the old training.
        std::fs::remove_file(&checkpoint_file).map_err(|error| Error::io(&checkpoint_file, error))?;
    }
    observe(JobEvent::Begin {
        options: &state.options,
        train_rows: data.train_rows,
        held_out_rows: held_out_rows.len(),
        calibration_rows: rows_to_flag(job.calibration.alpha),
        left_out: data.left_out,
        example: data.left_out_example.as_deref(),
        unseen_classes: &data.unseen_classes,
        streaming: data.is_streaming(),
        finished_epochs: state.history.len(),
    });
    if let Some(parent) = checkpoint_file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
    }
    let examples = data.examples(state.options.seed);
    let trained = {
        let mut forward = |event: TrainEvent<'_>| observe(JobEvent::Train(event));
        let mut context = TrainContext {
            devices: &[device],
            checkpoint: Some(&checkpoint_file),
            cancel: cancel.clone(),
            observe: &mut forward,
        };
        run(examples.as_ref(), (data.held_out_images(), &held_out_rows), state.clone(), resume, &mut context)?
    };
    drop(examples);
    let model = finish(job, &data, &state, trained, device, observe)?;
    match std::fs::remove_file(&checkpoint_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&checkpoint_file, error)),
        _ => Ok(model),
    }
}

fn check_places(job: &TrainJob, checkpoint: &Path) -> Result<()> {
    Model::check_place(&job.out, job.force)?;
    if checkpoint.exists() && !job.resume && !job.force {
        return Err(TrainError::Unfinished { path: checkpoint.to_path_buf() }.into());
    }
    Ok(())
}

/// Calibrates on the held-out rows and writes the bundle.
fn finish(
    job: &TrainJob,
    data: &Data,
    state: &TrainingState,
    trained: Trained,
    device: tch::Device,
    observe: &mut dyn FnMut(JobEvent<'_>),
) -> Result<Model> {
    let chart_svg = learning_curves(&trained.history);
    let history = TrainingHistory { epochs: trained.history, chart_svg };
    let mut model = Model::new(config(data, state), &trained.weights, Some(history))?;
    let (logits, labels) = data.held_out_logits(&model, device)?;
    let calibrated = LabelledLogits::try_new(&logits, model.classes().len(), &labels)
        .and_then(|rows| model.calibrate(&rows, &job.calibration, &data.held_out_source));
    // Weights that took hours are worth more than a perfect end: calibrate on more rows later.
    if let Err(error) = calibrated {
        observe(JobEvent::Uncalibrated(&error));
    }
    model.write(&job.out, job.force)?;
    Ok(model)
}

fn learning_curves(epochs: &[EpochRecord]) -> String {
    let epochs: Vec<_> = epochs
        .iter()
        .map(|record| dismax_charts::Epoch {
            number: record.epoch,
            learning_rate: record.learning_rate,
            train_nll: record.train_nll,
            validation_nll: record.validation_nll,
            train_accuracy: record.train_accuracy,
            validation_accuracy: record.validation_accuracy,
            images_per_second: record.images_per_second,
        })
        .collect();
    dismax_charts::training(&epochs)
}

fn config(data: &Data, state: &TrainingState) -> ModelConfig {
    ModelConfig {
        format_version: FORMAT_VERSION,
        architecture: state.options.architecture,
        loss: state.options.loss,
        classes: state.classes.clone(),
        preprocessing: Preprocessing { mean: state.options.mean, std: state.options.std, ..data.scoring.clone() },
        origin: format!(
            "trained with dismax {} on {} images ({} epochs, batch size {}, {} schedule up to a learning rate of {}, weight decay {}, seed {})",
            env!("CARGO_PKG_VERSION"),
            state.data.train_rows,
            state.options.epochs,
            state.options.batch_size,
            state.options.schedule,
            state.options.sgd.learning_rate,
            state.options.sgd.weight_decay,
            state.options.seed,
        ),
    }
}
