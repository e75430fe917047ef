//! Reading the datasets of a training: which rows are trained on, which are held out, and their images.

use std::path::PathBuf;
use std::thread;

use super::data::{Examples, InMemory, LabelledImages};
use super::job::{HeldOut, JobEvent, TrainJob};
use super::labels::RowLabels;
use super::reading::Reading;
use super::split::stratified_split;
use super::statistics::Statistics;
use super::streaming::Streaming;
use crate::cancel::Cancel;
use crate::dataset::{Dataset, ImageColumn, Input, LabelColumn, resolve};
use crate::error::{Error, Result, RowError};
use crate::image::{Preprocessing, Resize};
use crate::model::Model;

/// Share of the memory for a dataset that goes to the shuffle buffer where the dataset does not fit.
const BUFFER_SHARE: u64 = 2;
/// Rows scored at once after the training.
const SCORING_ROWS: usize = 128;

/// Everything read from the datasets.
pub(super) struct Data {
    pub(super) names: Vec<String>,
    /// In memory: all rows of the training files. Streaming: the held-out ones only.
    images: LabelledImages,
    /// Rows of `images` that are trained on; empty when streaming.
    training: Vec<usize>,
    /// Rows of `held_out` or, without it, of `images`.
    pub(super) held_out_rows: Vec<usize>,
    /// Images of `HeldOut::Files`.
    held_out: Option<LabelledImages>,
    streaming: Option<(Dataset, Reading, Vec<Option<u32>>)>,
    pub(super) train_rows: usize,
    pub(super) left_out: u64,
    pub(super) left_out_example: Option<String>,
    pub(super) digest: String,
    pub(super) held_out_source: String,
    /// Size of the stored images and statistics of their channels.
    pub(super) preprocessing: Preprocessing,
    /// The rule that the bundle scores with.
    pub(super) scoring: Preprocessing,
}

impl Data {
    pub(super) fn read(job: &TrainJob, cancel: &Cancel, observe: &mut dyn FnMut(JobEvent<'_>)) -> Result<Self> {
        let source = Source::open(&job.inputs, job)?;
        let labels = RowLabels::read(&source.dataset, &source.label, None)?;
        labels.require_two_classes(&source.dataset, &source.label)?;
        if let HeldOut::Files(files) = &job.held_out {
            refuse_common_files(&job.inputs, files)?;
        }
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
            HeldOut::Files(files) => {
                let (images, left_out, example) = read_held_out(files, &labels.names, job, &stored, cancel, observe)?;
                pass.left_out += left_out;
                pass.example = pass.example.or(example);
                Some(images)
            }
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
            let example = pass.example.map(|example| format!(" (left out: {example})")).unwrap_or_default();
            return Err(Error::Config(format!(
                "no row is held out for validation and calibration; give a larger --validation share or a file{example}"
            )));
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

    pub(super) fn is_streaming(&self) -> bool {
        self.streaming.is_some()
    }

    pub(super) fn examples(&self, job: &TrainJob, seed: u64) -> Box<dyn Examples + '_> {
        match &self.streaming {
            None => Box::new(InMemory::new(&self.images, &self.training, seed)),
            Some((dataset, reading, training)) => {
                let rows = job.memory_bytes / BUFFER_SHARE / reading.preprocessing.image_bytes() as u64;
                Box::new(Streaming::new(dataset, reading.clone(), training.clone(), rows as usize, seed))
            }
        }
    }

    pub(super) fn held_out_images(&self) -> &LabelledImages {
        self.held_out.as_ref().unwrap_or(&self.images)
    }

    /// Logits and labels of the held-out rows, by the finished model.
    pub(super) fn held_out_logits(&self, model: &Model, device: tch::Device) -> Result<(Vec<f32>, Vec<i64>)> {
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

/// The held-out images, how many rows were left out, and why the first of them.
fn read_held_out(
    files: &[String],
    names: &[String],
    job: &TrainJob,
    stored: &Preprocessing,
    cancel: &Cancel,
    observe: &mut dyn FnMut(JobEvent<'_>),
) -> Result<(LabelledImages, u64, Option<String>)> {
    let source = Source::open(files, job)?;
    let labels = RowLabels::read(&source.dataset, &source.label, Some(names))?;
    let is_held_out = vec![true; labels.classes.len()];
    let mut pass = Pass::new(&labels, stored, false, &is_held_out);
    pass.read(&source.dataset, &source.reading(job, stored), cancel, observe)?;
    Ok((pass.images, pass.left_out, pass.example))
}

/// A network is surer of images that it was trained on: thresholds from them would promise too much.
fn refuse_common_files(training: &[String], held_out: &[String]) -> Result<()> {
    let paths = |inputs: &[String]| -> Result<Vec<PathBuf>> {
        let files = resolve(inputs)?.into_iter().filter_map(|input| match input {
            Input::File(path) => Some(path),
            Input::Stdin => None,
        });
        files.map(|path| path.canonicalize().map_err(|error| Error::io(path, error))).collect()
    };
    let training = paths(training)?;
    match paths(held_out)?.into_iter().find(|path| training.contains(path)) {
        None => Ok(()),
        Some(path) => Err(Error::Config(format!(
            "{} is given both to train on and with --validation; take it out of one of the two",
            path.display()
        ))),
    }
}
