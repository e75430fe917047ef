//! Reading the datasets of a training: which rows are trained on, which are held out, and their images.

use super::checkpoint::TrainingData;
use super::data::{Examples, InMemory, LabelledImages};
use super::error::TrainError;
use super::job::{HeldOut, JobEvent, TrainJob};
use super::labels::{digest, require_two_classes};
use super::pass::Pass;
use super::reading::Reading;
use super::source::{HeldOutFiles, Source, refuse_common_files};
use super::split::stratified_split;
use super::streaming::Streaming;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, RowLabels};
use dismax::error::{Error, Result};
use dismax::image::{Preprocessing, Resize};
use dismax::model::Model;

/// One part in so many of the memory goes to the shuffle buffer where the dataset does not fit.
const BUFFER_SHARE: u64 = 2;
/// Fewest images that are worth calling a shuffle buffer.
const SMALLEST_BUFFER: u64 = 16;
/// Rows scored at once after the training.
const SCORING_ROWS: usize = 128;

/// Everything read from the datasets.
pub(super) struct Data {
    pub(super) names: Vec<String>,
    /// Those of the names that no row is trained on.
    pub(super) unseen_classes: Vec<String>,
    /// In memory: all rows of the training files. Streaming: the held-out ones only.
    images: LabelledImages,
    /// Rows of `images` that are trained on; empty when streaming.
    training: Vec<usize>,
    /// Rows of `held_out` or, without it, of `images`.
    pub(super) held_out_rows: Vec<usize>,
    /// Images of `HeldOut::Files`.
    held_out: Option<LabelledImages>,
    held_out_digest: Option<String>,
    streaming: Option<Stream>,
    pub(super) train_rows: usize,
    pub(super) left_out: u64,
    pub(super) left_out_example: Option<String>,
    digest: String,
    image_column: String,
    pub(super) held_out_source: String,
    /// Size of the stored images and statistics of their channels.
    pub(super) preprocessing: Preprocessing,
    /// The rule that the bundle scores with.
    pub(super) scoring: Preprocessing,
}

impl Data {
    pub(super) fn read(job: &TrainJob, cancel: &Cancel, observe: &mut dyn FnMut(JobEvent<'_>)) -> Result<Self> {
        let source = Source::open(&job.inputs, job, cancel)?;
        let labels = RowLabels::read(&source.dataset, &source.label, None)?;
        require_two_classes(&labels, &source.dataset, &source.label)?;
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
                return Err(TrainError::HeldOutFraction { fraction }.into());
            }
            HeldOut::Files(_) => 0.0,
        };
        let held_out_files = match &job.held_out {
            HeldOut::Fraction(_) => None,
            HeldOut::Files(files) => Some(HeldOutFiles::open(files, &labels.names, job, cancel)?),
        };
        let reading = source.reading(job, &stored);

        // Which rows are held out must be known before the images are read, as only those stay when streaming.
        let labelled: Vec<usize> = (0..labels.classes.len()).filter(|&row| labels.classes[row].is_some()).collect();
        let known: Vec<u32> = labelled.iter().filter_map(|&row| labels.classes[row]).collect();
        let split = stratified_split(&known, labels.names.len(), fraction, job.recipe.seed);
        let mut is_held_out = vec![false; labels.classes.len()];
        split.held_out.iter().for_each(|&index| is_held_out[labelled[index]] = true);

        let held_out_count = held_out_files.as_ref().map_or(split.held_out.len(), |files| files.labels.classes.len());
        let memory = Memory { bytes: job.memory_bytes, image_bytes: stored.image_bytes() as u64 };
        let shuffle_buffer = match held_out_files {
            None => memory.shuffle_buffer(labels.classes.len() - held_out_count, held_out_count)?,
            Some(_) => memory.shuffle_buffer(labels.classes.len(), held_out_count)?,
        };

        let mut pass = Pass::new(&labels, &stored, shuffle_buffer.is_none(), &is_held_out);
        pass.read(&source.dataset, &reading, cancel, observe)?;
        let held_out_digest = held_out_files.as_ref().map(|files| digest(&files.labels));
        let held_out = match held_out_files {
            None => None,
            Some(files) => {
                let (images, left_out, example) = files.read(job, &stored, cancel, observe)?;
                pass.left_out += left_out;
                pass.example = pass.example.or(example);
                Some(images)
            }
        };
        let held_out_source = match &job.held_out {
            HeldOut::Fraction(fraction) => {
                format!("{} % of the training data, held out of training", percent(*fraction))
            }
            HeldOut::Files(files) => files.join(", "),
        };
        let held_out_rows: Vec<usize> = match &held_out {
            Some(images) => (0..images.len()).collect(),
            None => pass.held_out.clone(),
        };
        if held_out_rows.is_empty() {
            return Err(TrainError::NothingHeldOut { example: pass.example }.into());
        }
        let train_rows = pass.training_classes.iter().flatten().count();
        if train_rows == 0 {
            let example = pass.example.unwrap_or_default();
            return Err(Error::data(job.inputs.join(", "), format!("no row can be trained on; the first: {example}")));
        }
        let (mean, std) = pass.statistics.mean_and_std();
        Ok(Self {
            unseen_classes: (0u32..)
                .zip(&labels.names)
                .filter(|(class, _)| !pass.training_classes.contains(&Some(*class)))
                .map(|(_, name)| name.clone())
                .collect(),
            names: labels.names.clone(),
            training: pass.training,
            held_out_rows,
            held_out,
            held_out_digest,
            train_rows,
            left_out: pass.left_out,
            left_out_example: pass.example,
            digest: digest(&labels),
            image_column: source.image.name().to_owned(),
            held_out_source,
            preprocessing: Preprocessing { mean, std, ..stored },
            scoring,
            streaming: shuffle_buffer.map(|buffer_rows| Stream {
                dataset: source.dataset,
                reading,
                training: pass.training_classes,
                buffer_rows,
            }),
            images: pass.images,
        })
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.streaming.is_some()
    }

    pub(super) fn examples(&self, seed: u64) -> Box<dyn Examples + '_> {
        match &self.streaming {
            None => Box::new(InMemory::new(&self.images, &self.training, seed)),
            Some(Stream { dataset, reading, training, buffer_rows }) => {
                Box::new(Streaming::new(dataset, reading.clone(), training.clone(), *buffer_rows, seed))
            }
        }
    }

    /// What a resumed training must have in common with the interrupted one.
    pub(super) fn state(&self, job: &TrainJob) -> TrainingData {
        TrainingData {
            train_rows: self.train_rows,
            held_out_rows: self.held_out_rows.len(),
            labels: self.digest.clone(),
            held_out: self.held_out_source.clone(),
            held_out_labels: self.held_out_digest.clone(),
            image_column: self.image_column.clone(),
            max_pixels: job.load.limits.max_pixels,
            read_paths: job.load.read_paths,
            shuffle_buffer: self.streaming.as_ref().map(|stream| stream.buffer_rows),
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

/// A dataset that is read anew in every epoch.
struct Stream {
    dataset: Dataset,
    reading: Reading,
    /// Class of each row that is trained on.
    training: Vec<Option<u32>>,
    buffer_rows: usize,
}

/// What decoded images may take.
struct Memory {
    bytes: u64,
    image_bytes: u64,
}

impl Memory {
    /// Images of the shuffle buffer; none where all images fit at once. Held-out images always stay.
    fn shuffle_buffer(&self, training: usize, held_out: usize) -> Result<Option<usize>> {
        let held_out_bytes = held_out as u64 * self.image_bytes;
        if training as u64 * self.image_bytes + held_out_bytes <= self.bytes {
            return Ok(None);
        }
        let left = self.bytes.saturating_sub(held_out_bytes) / BUFFER_SHARE / self.image_bytes;
        if left >= SMALLEST_BUFFER {
            return Ok(Some(left as usize));
        }
        let needed = held_out_bytes + BUFFER_SHARE * SMALLEST_BUFFER * self.image_bytes;
        let (allowed_bytes, needed_bytes) = (self.bytes, needed);
        Err(TrainError::Memory { images: held_out, held_out_bytes, allowed_bytes, needed_bytes }.into())
    }
}

/// A share in percent to four places, without the digits that binary fractions add.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn shares_are_printed_as_they_were_given() {
        assert_eq!([0.07, 0.1, 0.125, 0.29].map(|share| percent(share).to_string()), ["7", "10", "12.5", "29"]);
    }
}
