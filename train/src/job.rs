//! What a caller asks of a training, and what it is told while it runs.

use std::path::{Path, PathBuf};

use dismax::calibration::CalibrationOptions;
use dismax::dataset::{BadFile, LoadOptions, OnBadFile};
use dismax::device::Device;
use dismax::error::Error;
use dismax::loss::Loss;
use dismax::model::EpochRecord;
use dismax::network::Architecture;

use super::collector::LeftOut;
use super::options::TrainOptions;
use super::recipe::Recipe;

/// Which rows are held out of training, for validation, calibration and thresholds.
#[derive(Debug, Clone, PartialEq)]
pub enum HeldOut {
    /// A share of every class, in (0, 1), chosen by the seed.
    Fraction(f64),
    /// All rows of other files.
    Files(Vec<String>),
}

/// What to train on, how, and where the bundle goes.
#[derive(Debug, Clone)]
pub struct TrainJob {
    /// Files, folders or patterns with labelled images.
    pub inputs: Vec<String>,
    /// Folder of the bundle.
    pub out: PathBuf,
    /// Image column. `None`: the only column that fits.
    pub image: Option<String>,
    /// Label column. `None`: the column with a usual name.
    pub label: Option<String>,
    /// Held-out rows.
    pub held_out: HeldOut,
    /// What the weights below the head begin with: a bundle, or a safetensors file with the names of the reference, of
    /// torchvision or of timm. Drawn at random where none is given.
    pub init: Option<PathBuf>,
    /// How to train.
    pub recipe: Recipe,
    /// How to calibrate afterwards.
    pub calibration: CalibrationOptions,
    /// Where to train.
    pub device: Device,
    /// Whether to continue from the checkpoint next to `out`, if there is one.
    pub resume: bool,
    /// Whether to replace an existing bundle or checkpoint.
    pub force: bool,
    /// What becomes of damaged files: with [`OnBadFile::Skip`] they are left out whole, which takes one more reading.
    pub on_bad_file: OnBadFile,
    /// How images are loaded.
    pub load: LoadOptions,
    /// Bytes that decoded training images may take; a larger dataset is read again in every epoch.
    pub memory_bytes: u64,
}

impl TrainJob {
    /// Trains a ResNet-20 with DisMax on `inputs` on any device, holds a tenth of the rows out, and keeps up to 8 GiB
    /// of decoded images in memory.
    pub fn new<S: Into<String>>(inputs: impl IntoIterator<Item = S>, out: impl Into<PathBuf>) -> Self {
        Self {
            inputs: inputs.into_iter().map(Into::into).collect(),
            out: out.into(),
            image: None,
            label: None,
            held_out: HeldOut::Fraction(0.1),
            init: None,
            recipe: Recipe::new(Architecture::Resnet20, Loss::Dismax),
            calibration: CalibrationOptions::default(),
            device: Device::Auto,
            resume: false,
            force: false,
            on_bad_file: OnBadFile::default(),
            load: LoadOptions::default(),
            memory_bytes: 8 << 30,
        }
    }
}

/// A training that is about to begin: its data are read, its options are complete.
#[derive(Debug, Clone, Copy)]
pub struct TrainingPlan<'a> {
    /// Every option, including the derived ones.
    pub options: &'a TrainOptions,
    /// Rows to train on.
    pub train_rows: usize,
    /// Rows held out.
    pub held_out_rows: usize,
    /// Rows that the best epoch is chosen by.
    pub selection_rows: usize,
    /// Smallest number of held-out rows that thresholds at the job's alpha need. With fewer the model stays
    /// uncalibrated.
    pub min_calibration_rows: usize,
    /// Rows without a label or a usable image.
    pub left_out: &'a LeftOut,
    /// Damaged files, of which no row is used.
    pub bad_files: &'a [BadFile],
    /// Classes that no row is trained on.
    pub unseen_classes: &'a [String],
    /// Whether images are read again in every epoch.
    pub streaming: bool,
    /// Epochs that an interrupted run has finished already.
    pub finished_epochs: usize,
}

/// What happens in a training besides progress.
#[derive(Debug)]
pub enum TrainEvent<'a> {
    /// The training begins.
    Begin(TrainingPlan<'a>),
    /// An epoch ended and its checkpoint is written.
    Epoch(&'a EpochRecord),
    /// The model could not be calibrated; it is written without calibration.
    Uncalibrated(&'a Error),
}

/// Where a training that writes its bundle to `out` keeps its checkpoint.
pub fn checkpoint_path(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".checkpoint");
    out.with_file_name(name)
}
