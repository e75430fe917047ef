//! A whole training: datasets in, a calibrated bundle out.

use std::path::{Path, PathBuf};
use std::thread;

use super::checkpoint::{Checkpoint, TrainingState};
use super::data::{Examples, InMemory, LabelledImages};
use super::labels::RowLabels;
use super::options::TrainOptions;
use super::reading::Reading;
use super::recipe::Recipe;
use super::run::{TrainContext, TrainEvent, Trained, run};
use super::split::stratified_split;
use super::streaming::Streaming;
use crate::calibration::{Calibration, CalibrationOptions};
use crate::cancel::Cancel;
use crate::dataset::{Dataset, ImageColumn, LabelColumn, LoadOptions};
use crate::device::Device;
use crate::error::{Error, Result, RowError};
use crate::image::{Preprocessing, Resize};
use crate::loss::Loss;
use crate::metrics::{ClassificationMetrics, LabelledLogits};
use crate::model::{FORMAT_VERSION, Model, ModelConfig};
use crate::network::Architecture;

/// Share of the memory for a dataset that goes to the shuffle buffer where the dataset does not fit.
const BUFFER_SHARE: u64 = 2;
/// Rows scored at once after the training.
const SCORING_ROWS: usize = 128;

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
        /// Rows left out: no label or no usable image.
        left_out: u64,
        /// The first row left out, with its reason.
        example: Option<&'a str>,
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
    let data = Data::read(job, cancel, observe)?;
    let options = job.recipe.options(&data.preprocessing, device)?;
    let held_out_rows: Vec<usize> = data.held_out_rows.clone();

    let mut state = TrainingState {
        options,
        classes: data.names.clone(),
        rows: (data.train_rows, held_out_rows.len()),
        data_digest: data.digest.clone(),
        history: Vec::new(),
    };
    let mut resume = None;
    if job.resume && checkpoint_file.exists() {
        let checkpoint = Checkpoint::read(&checkpoint_file)?;
        checkpoint.state.require_same(&state, &checkpoint_file)?;
        state.history.clone_from(&checkpoint.state.history);
        resume = Some(checkpoint);
    }
    observe(JobEvent::Begin {
        options: &state.options,
        train_rows: data.train_rows,
        held_out_rows: held_out_rows.len(),
        left_out: data.left_out,
        example: data.left_out_example.as_deref(),
        streaming: data.is_streaming(),
        finished_epochs: state.history.len(),
    });
    if let Some(parent) = checkpoint_file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
    }
    let examples = data.examples(job, state.options.seed);
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
    if job.out.exists() && !job.force {
        return Err(Error::Config(format!("{} exists; give --force to replace it", job.out.display())));
    }
    if checkpoint.exists() && !job.resume && !job.force {
        return Err(Error::Config(format!(
            "{} is an unfinished training; --resume continues it, --force begins again",
            checkpoint.display()
        )));
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
    let config = ModelConfig {
        format_version: FORMAT_VERSION,
        architecture: state.options.architecture,
        loss: state.options.loss,
        classes: state.classes.clone(),
        preprocessing: Preprocessing { mean: state.options.mean, std: state.options.std, ..data.scoring.clone() },
        origin: format!(
            "trained with dismax {} on {} images ({} epochs, batch size {}, {} schedule up to a learning rate of {}, weight decay {}, seed {})",
            env!("CARGO_PKG_VERSION"),
            data.train_rows,
            state.options.epochs,
            state.options.batch_size,
            state.options.schedule,
            state.options.sgd.learning_rate,
            state.options.sgd.weight_decay,
            state.options.seed,
        ),
    };
    let mut model = Model::new(config, &trained.weights, trained.history)?;
    let (logits, labels) = data.held_out_logits(&model, device)?;
    let calibrated = LabelledLogits::try_new(&logits, model.classes().len(), &labels).and_then(|rows| {
        let calibration = Calibration::fit(&rows, &job.calibration, &data.held_out_source)?;
        let metrics = ClassificationMetrics::of(&rows, calibration.temperature)?;
        Ok((calibration, metrics))
    });
    match calibrated {
        Ok((calibration, metrics)) => model.set_calibration(calibration, &metrics)?,
        // Weights that took hours are worth more than a perfect end: calibrate on more rows later.
        Err(error) => observe(JobEvent::Uncalibrated(&error)),
    }
    model.write(&job.out, job.force)?;
    Ok(model)
}

/// Everything read from the datasets.
struct Data {
    names: Vec<String>,
    /// In memory: all rows of the training files. Streaming: the held-out ones only.
    images: LabelledImages,
    /// Rows of `images` that are trained on; empty when streaming.
    training: Vec<usize>,
    /// Rows of `held_out` or, without it, of `images`.
    held_out_rows: Vec<usize>,
    /// Images of `HeldOut::Files`.
    held_out: Option<LabelledImages>,
    streaming: Option<(Dataset, Reading, Vec<Option<u32>>)>,
    train_rows: usize,
    left_out: u64,
    left_out_example: Option<String>,
    digest: String,
    held_out_source: String,
    /// Size of the stored images and statistics of their channels.
    preprocessing: Preprocessing,
    /// The rule that the bundle scores with.
    scoring: Preprocessing,
}

impl Data {
    fn read(job: &TrainJob, cancel: &Cancel, observe: &mut dyn FnMut(JobEvent<'_>)) -> Result<Self> {
        let source = Source::open(&job.inputs, job)?;
        let labels = RowLabels::read(&source.dataset, &source.label, None)?;
        labels.require_two_classes(&source.label)?;
        let scoring = source.preprocessing(job)?;
        // Random crops of large photographs need more than the network's own size to choose from.
        let stored = match scoring.resize {
            Resize::Exact => scoring.clone(),
            Resize::ShorterSide { pixels } => Preprocessing { height: pixels, width: pixels, ..scoring.clone() },
        };
        let fraction = match job.held_out {
            HeldOut::Fraction(fraction) if fraction > 0.0 && fraction < 1.0 => fraction,
            HeldOut::Fraction(fraction) => {
                return Err(Error::Config(format!("--validation {fraction}: give a share between 0 and 1, or a file")));
            }
            HeldOut::Files(_) => 0.0,
        };
        let bytes = labels.classes.len() as u64 * stored.image_bytes() as u64;
        let streaming = bytes > job.memory_bytes;
        let reading = source.reading(job, &stored);

        // Which rows are held out must be known before the images are read, as only those stay when streaming.
        let labelled: Vec<usize> = (0..labels.classes.len()).filter(|&row| labels.classes[row].is_some()).collect();
        let known: Vec<u32> = labelled.iter().filter_map(|&row| labels.classes[row]).collect();
        let split = stratified_split(&known, labels.names.len(), fraction, job.recipe.seed);
        let mut is_held_out = vec![false; labels.classes.len()];
        split.held_out.iter().for_each(|&index| is_held_out[labelled[index]] = true);

        let mut pass = Pass::new(&labels, &stored, !streaming, &is_held_out);
        pass.read(&source.dataset, &reading, cancel, observe)?;
        let held_out = match &job.held_out {
            HeldOut::Fraction(_) => None,
            HeldOut::Files(files) => Some(read_held_out(files, &labels.names, job, &stored, cancel, observe)?),
        };
        let held_out_source = match &job.held_out {
            HeldOut::Fraction(fraction) => format!("{} % of the training data, held out of training", fraction * 100.0),
            HeldOut::Files(files) => files.join(", "),
        };
        let held_out_rows: Vec<usize> = match &held_out {
            Some(images) => (0..images.len()).collect(),
            None => pass.held_out.clone(),
        };
        if held_out_rows.is_empty() {
            return Err(Error::Config(
                "no row is held out for validation and calibration; give a larger --validation share or a file".into(),
            ));
        }
        let train_rows = pass.training_classes.iter().flatten().count();
        if train_rows == 0 {
            let example = pass.example.unwrap_or_default();
            return Err(Error::data(job.inputs.join(", "), format!("no row can be trained on; the first: {example}")));
        }
        let (mean, std) = pass.statistics.mean_and_std();
        Ok(Self {
            names: labels.names.clone(),
            training: pass.training,
            held_out_rows,
            held_out,
            train_rows,
            left_out: pass.left_out,
            left_out_example: pass.example,
            digest: labels.digest(),
            held_out_source,
            preprocessing: Preprocessing { mean, std, ..stored },
            scoring,
            streaming: streaming.then_some((source.dataset, reading, pass.training_classes)),
            images: pass.images,
        })
    }

    fn is_streaming(&self) -> bool {
        self.streaming.is_some()
    }

    fn examples(&self, job: &TrainJob, seed: u64) -> Box<dyn Examples + '_> {
        match &self.streaming {
            None => Box::new(InMemory::new(&self.images, &self.training, seed)),
            Some((dataset, reading, training)) => {
                let rows = job.memory_bytes / BUFFER_SHARE / reading.preprocessing.image_bytes() as u64;
                Box::new(Streaming::new(dataset, reading.clone(), training.clone(), rows as usize, seed))
            }
        }
    }

    fn held_out_images(&self) -> &LabelledImages {
        self.held_out.as_ref().unwrap_or(&self.images)
    }

    /// Logits and labels of the held-out rows, by the finished model.
    fn held_out_logits(&self, model: &Model, device: tch::Device) -> Result<(Vec<f32>, Vec<i64>)> {
        let scorer = model.scorer(device)?;
        let images = self.held_out_images();
        let size = (model.config().preprocessing.height, model.config().preprocessing.width);
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for rows in self.held_out_rows.chunks(SCORING_ROWS) {
            let mut pixels = Vec::with_capacity(rows.len() * images.image_bytes());
            for &row in rows {
                images.center_crop_into(row, size, &mut pixels)?;
                labels.push(i64::from(images.labels[row]));
            }
            logits.extend(scorer.logits(&pixels)?);
        }
        Ok((logits, labels))
    }
}

/// An opened dataset with its two columns.
struct Source {
    dataset: Dataset,
    image: ImageColumn,
    label: LabelColumn,
}

impl Source {
    fn open(inputs: &[String], job: &TrainJob) -> Result<Self> {
        let dataset = Dataset::open(inputs)?;
        let image = ImageColumn::find(dataset.schema(), job.image.as_deref())?;
        let label = LabelColumn::find(dataset.schema(), job.label.as_deref())?;
        Ok(Self { dataset, image, label })
    }

    fn reading(&self, job: &TrainJob, stored: &Preprocessing) -> Reading {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Reading { column: self.image.clone(), load: job.load, preprocessing: stored.clone(), threads }
    }

    /// The recipe's preprocessing; small networks take the images' own size where all of the first rows agree on one.
    fn preprocessing(&self, job: &TrainJob) -> Result<Preprocessing> {
        let found = match job.recipe.wants_own_size() {
            true => self.common_size(job)?,
            false => None,
        };
        job.recipe.preprocessing(found)
    }

    fn common_size(&self, job: &TrainJob) -> Result<Option<(u32, u32)>> {
        let Some(chunk) = self.dataset.read(64, Some(&[self.image.index()]))?.next() else { return Ok(None) };
        let chunk = chunk?;
        let images = self.image.values(&chunk.record_batch)?;
        let mut sizes = (0..chunk.record_batch.num_rows()).filter_map(|row| {
            let image = images.get(row).and_then(|image| crate::dataset::load(&image, &chunk.file, &job.load)).ok()?;
            Some((image.height, image.width))
        });
        let first = sizes.next();
        Ok(first.filter(|first| sizes.all(|size| size == *first)))
    }
}

/// One reading of the training files.
struct Pass<'a> {
    labels: &'a RowLabels,
    is_held_out: &'a [bool],
    keep_all: bool,
    images: LabelledImages,
    training: Vec<usize>,
    held_out: Vec<usize>,
    training_classes: Vec<Option<u32>>,
    statistics: Statistics,
    left_out: u64,
    example: Option<String>,
}

impl<'a> Pass<'a> {
    fn new(labels: &'a RowLabels, stored: &Preprocessing, keep_all: bool, is_held_out: &'a [bool]) -> Self {
        let rows = if keep_all { labels.classes.len() } else { is_held_out.iter().filter(|&&held| held).count() };
        let images = LabelledImages {
            pixels: Vec::with_capacity(rows * stored.image_bytes()),
            labels: Vec::with_capacity(rows),
            height: stored.height,
            width: stored.width,
        };
        Self {
            labels,
            is_held_out,
            keep_all,
            images,
            training: Vec::new(),
            held_out: Vec::new(),
            training_classes: vec![None; labels.classes.len()],
            statistics: Statistics::default(),
            left_out: 0,
            example: None,
        }
    }

    fn read(
        &mut self,
        dataset: &Dataset,
        reading: &Reading,
        cancel: &Cancel,
        observe: &mut dyn FnMut(JobEvent<'_>),
    ) -> Result<()> {
        let mut row = 0;
        for decoded in reading.rows(dataset)? {
            cancel.check()?;
            let decoded = decoded?;
            for (offset, image) in decoded.images.into_iter().enumerate() {
                let place = || format!("{}, row {}", decoded.file, decoded.first_row + offset as u64);
                self.take(row, image, place);
                row += 1;
            }
            observe(JobEvent::Reading { rows: row as u64, of: dataset.rows() });
        }
        if row == self.labels.classes.len() {
            return Ok(());
        }
        Err(Error::data("training data", "the number of rows changed while it was read; do not change it meanwhile"))
    }

    fn take(&mut self, row: usize, image: Result<Vec<u8>, RowError>, place: impl Fn() -> String) {
        let (class, pixels) = match (self.labels.classes.get(row).copied().flatten(), image) {
            (Some(class), Ok(pixels)) => (class, pixels),
            (None, _) => return self.leave_out(|| format!("{}: the label is null", place())),
            (_, Err(error)) => return self.leave_out(|| format!("{}: {error}", place())),
        };
        let held_out = self.is_held_out[row];
        if !held_out {
            self.training_classes[row] = Some(class);
            self.statistics.add(&pixels);
        }
        if self.keep_all || held_out {
            let index = self.images.labels.len();
            if held_out {
                self.held_out.push(index)
            } else {
                self.training.push(index)
            }
            self.images.pixels.extend_from_slice(&pixels);
            self.images.labels.push(class);
        }
    }

    fn leave_out(&mut self, reason: impl Fn() -> String) {
        self.left_out += 1;
        self.example.get_or_insert_with(reason);
    }
}

fn read_held_out(
    files: &[String],
    names: &[String],
    job: &TrainJob,
    stored: &Preprocessing,
    cancel: &Cancel,
    observe: &mut dyn FnMut(JobEvent<'_>),
) -> Result<LabelledImages> {
    let source = Source::open(files, job)?;
    let labels = RowLabels::read(&source.dataset, &source.label, Some(names))?;
    let is_held_out = vec![true; labels.classes.len()];
    let mut pass = Pass::new(&labels, stored, false, &is_held_out);
    pass.read(&source.dataset, &source.reading(job, stored), cancel, observe)?;
    Ok(pass.images)
}

/// Sums over the training pixels.
#[derive(Debug, Default)]
struct Statistics {
    count: u64,
    sums: [u64; 3],
    squares: [u64; 3],
}

impl Statistics {
    fn add(&mut self, pixels: &[u8]) {
        let (pixels, _) = pixels.as_chunks::<3>();
        self.count += pixels.len() as u64;
        for pixel in pixels {
            for (channel, &value) in pixel.iter().enumerate() {
                let value = u64::from(value);
                self.sums[channel] += value;
                self.squares[channel] += value * value;
            }
        }
    }

    /// Mean and standard deviation of each channel on the scale 0 to 1, to three digits as they are usually quoted. A
    /// channel that never changes gets a deviation of 1.
    fn mean_and_std(&self) -> ([f32; 3], [f32; 3]) {
        let three = |value: f64| ((value * 1000.0).round() / 1000.0) as f32;
        let count = self.count.max(1) as f64;
        let mean = self.sums.map(|sum| sum as f64 / count);
        let variance: [f64; 3] = std::array::from_fn(|c| self.squares[c] as f64 / count - mean[c] * mean[c]);
        let std = variance.map(|variance| {
            let std = three(variance.max(0.0).sqrt() / 255.0);
            if std > 0.0 { std } else { 1.0 }
        });
        (mean.map(|mean| three(mean / 255.0)), std)
    }
}
