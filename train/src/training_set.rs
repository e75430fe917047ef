//! Everything that a training reads from its datasets.

use dismax::dataset::{BadFile, RowLabels};
use dismax::error::{Error, Result};
use dismax::image::{Preprocessing, Resize};
use dismax::run::Run;

use super::checkpoint::TrainingData;
use super::collector::{ImageCollector, LeftOut};
use super::data::{Examples, InMemory, LabelledImages};
use super::error::TrainError;
use super::held_out::{HeldOutFiles, HeldOutPlan};
use super::job::TrainJob;
use super::keep::Keep;
use super::labelled_dataset::LabelledDataset;
use super::labels::{digest, require_two_classes};
use super::streaming::Streaming;
use super::whitening::Patches;

/// If a dataset does not fit in memory, one part in this many goes to the shuffle buffer.
const BUFFER_SHARE: u64 = 2;
/// Smallest shuffle buffer in images.
const MIN_BUFFER_ROWS: u64 = 16;

/// The datasets of a training, read.
pub(super) struct TrainingSet {
    /// Class names.
    pub(super) classes: Vec<String>,
    /// Those of the classes that no row is trained on.
    pub(super) unseen_classes: Vec<String>,
    /// Rows of each class that are trained on.
    pub(super) class_rows: Vec<usize>,
    /// The rows to train on.
    pub(super) examples: Box<dyn Examples>,
    /// The rows for validation, calibration and thresholds.
    pub(super) held_out: LabelledImages,
    /// The rows that the best epoch is chosen by; none where the last one is kept.
    pub(super) selection: LabelledImages,
    /// The rows that cannot be used.
    pub(super) left_out: LeftOut,
    /// Files that are left out whole.
    pub(super) bad_files: Vec<BadFile>,
    /// Size of the stored images and the statistics of their channels.
    pub(super) stored: Preprocessing,
    /// Patches of the training images, where the first convolution whitens them.
    pub(super) patches: Option<Patches>,
    /// The preprocessing that the bundle scores with, without channel statistics.
    pub(super) scoring: Preprocessing,
    /// What a resumed training must have in common with the interrupted one.
    pub(super) fingerprint: TrainingData,
}

impl TrainingSet {
    /// Reads the labels first, then all images.
    pub(super) fn read(job: &TrainJob, run: &mut Run<'_>) -> Result<Self> {
        let source = LabelledDataset::open(&job.inputs, job, &run.cancel)?;
        let labels = RowLabels::read(&source.dataset, &source.label, None)?;
        require_two_classes(&labels, &source.dataset, &source.label)?;
        let plan = HeldOutPlan::try_new(job, &source.dataset, &labels, &run.cancel)?;
        let scoring = source.preprocessing(job)?;
        let stored = stored_preprocessing(&scoring);
        let decoder = source.decoder(job, &stored);
        let memory = Memory { bytes: job.memory_bytes, image_bytes: stored.image_bytes() as u64 };
        let shuffle_buffer = memory.shuffle_buffer(plan.training_rows(), plan.rows())?;

        let mut images = ImageCollector::new(&labels, &stored, &plan.uses, shuffle_buffer.is_none());
        images.patches = job.recipe.whitening.then(Patches::default);
        images.read(&source.dataset, &decoder, run)?;
        if let Some(files) = &plan.files {
            let (held_out, left_out) = files.read(job, &stored, run)?;
            images.held_out = held_out;
            images.left_out.add(left_out);
        }
        let mut bad_files = source.dataset.bad_files();
        bad_files.extend(plan.files.iter().flat_map(HeldOutFiles::bad_files));
        require_rows(&images, job)?;
        let ImageCollector { training, held_out, selection, training_classes, statistics, patches, left_out, .. } =
            images;
        let fingerprint = TrainingData {
            train_rows: training_classes.iter().flatten().count(),
            held_out_rows: held_out.len(),
            selection_rows: selection.len(),
            labels: digest(&labels),
            held_out: plan.source,
            held_out_labels: plan.files.map(|files| digest(&files.labels)),
            image_column: source.image.name().to_owned(),
            max_pixels: job.load.limits.max_pixels,
            read_paths: job.load.read_paths,
            shuffle_buffer,
        };
        let (mean, std) = statistics.mean_and_std();
        let mut class_rows = vec![0; labels.names.len()];
        training_classes.iter().flatten().for_each(|&class| class_rows[class as usize] += 1);
        let unseen_classes = labels.names.iter().zip(&class_rows).filter(|(_, rows)| **rows == 0);
        let seed = job.recipe.seed;
        Ok(Self {
            unseen_classes: unseen_classes.map(|(name, _)| name.clone()).collect(),
            classes: labels.names,
            class_rows,
            examples: match shuffle_buffer {
                None => Box::new(InMemory::new(training, seed)),
                Some(rows) => Box::new(Streaming::new(source.dataset, decoder, training_classes, rows, seed)),
            },
            held_out,
            selection,
            left_out,
            bad_files,
            patches,
            stored: Preprocessing { mean, std, ..stored },
            scoring,
            fingerprint,
        })
    }
}

/// Random crops of large photographs need more than the network's own size to choose from.
fn stored_preprocessing(scoring: &Preprocessing) -> Preprocessing {
    match scoring.resize {
        Resize::Exact => scoring.clone(),
        Resize::ShorterSide { pixels } => Preprocessing { height: pixels, width: pixels, ..scoring.clone() },
    }
}

fn require_rows(images: &ImageCollector<'_>, job: &TrainJob) -> Result<()> {
    let example = images.left_out.example.clone();
    if images.held_out.is_empty() {
        return Err(TrainError::NothingHeldOut { example }.into());
    }
    if job.recipe.keep == Keep::Best && images.selection.is_empty() {
        return Err(TrainError::NothingToChooseBy { example }.into());
    }
    if images.training_classes.iter().flatten().next().is_none() {
        let example = example.map(|example| format!("; the first: {example}")).unwrap_or_default();
        return Err(Error::data(job.inputs.join(", "), format!("no row can be trained on{example}")));
    }
    Ok(())
}

/// Bytes that decoded images may take.
struct Memory {
    bytes: u64,
    image_bytes: u64,
}

impl Memory {
    /// Images in the shuffle buffer, or none if all images fit at once. Held-out images always stay in memory.
    fn shuffle_buffer(&self, training: usize, held_out: usize) -> Result<Option<usize>> {
        let held_out_bytes = held_out as u64 * self.image_bytes;
        if training as u64 * self.image_bytes + held_out_bytes <= self.bytes {
            return Ok(None);
        }
        let left = self.bytes.saturating_sub(held_out_bytes) / BUFFER_SHARE / self.image_bytes;
        if left >= MIN_BUFFER_ROWS {
            return Ok(Some(left as usize));
        }
        let needed_bytes = held_out_bytes + BUFFER_SHARE * MIN_BUFFER_ROWS * self.image_bytes;
        let allowed_bytes = self.bytes;
        Err(TrainError::Memory { images: held_out, held_out_bytes, allowed_bytes, needed_bytes }.into())
    }
}
