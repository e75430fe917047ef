//! An opened dataset with its image and label column.

use std::collections::HashSet;
use std::path::PathBuf;
use std::thread;

use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, ImageColumn, LabelColumn, LoadOptions, OpenOptions};
use dismax::error::Result;
use dismax::image::{Decoding, Preprocessing};

use super::decode::Decoder;
use super::error::TrainError;
use super::job::TrainJob;

/// Rows whose images are decoded to find their common size.
const SIZE_SAMPLE_ROWS: usize = 64;

/// A dataset and the columns that training reads.
pub(super) struct LabelledDataset {
    pub(super) dataset: Dataset,
    pub(super) image: ImageColumn,
    pub(super) label: LabelColumn,
}

impl LabelledDataset {
    pub(super) fn open(inputs: &[String], job: &TrainJob, cancel: &Cancel) -> Result<Self> {
        let options = OpenOptions { cancel: cancel.clone(), on_bad_file: job.on_bad_file };
        let dataset = Dataset::open_with(inputs, options)?;
        dataset.require_distinct_files()?;
        let image = dataset.image_column(job.image.as_deref())?;
        job.load.require_paths(&image)?;
        let label = dataset.label_column(job.label.as_deref())?;
        // Labels, images and epochs are read one after the other, and must be those of the same rows.
        let dataset = dataset.whole_files(&[image.index(), label.index()])?;
        Ok(Self { dataset, image, label })
    }

    pub(super) fn decoder(&self, job: &TrainJob, stored: &Preprocessing) -> Decoder {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let load = LoadOptions { decoding: stored.decoding(), ..job.load };
        Decoder { column: self.image.clone(), load, preprocessing: stored.clone(), threads }
    }

    /// The recipe's preprocessing. Small networks take the images' own size if all of the first rows agree on one.
    pub(super) fn preprocessing(&self, job: &TrainJob) -> Result<Preprocessing> {
        let found = match job.recipe.wants_own_size() {
            true => self.common_size(job)?,
            false => None,
        };
        job.recipe.preprocessing(found)
    }

    /// Height and width that all of the first images have.
    fn common_size(&self, job: &TrainJob) -> Result<Option<(u32, u32)>> {
        let Some(chunk) = self.dataset.read(SIZE_SAMPLE_ROWS, Some(&[self.image.index()]))?.next() else {
            return Ok(None);
        };
        let chunk = chunk?;
        let images = self.image.images(&chunk)?;
        let decoding = Decoding { orientation: true, ..Decoding::default() };
        let load = LoadOptions { decoding, ..job.load };
        let mut sizes = (0..chunk.record_batch.num_rows()).filter_map(|row| {
            let image = load.load(&images, row).ok()?;
            Some((image.height, image.width))
        });
        let first = sizes.next();
        Ok(first.filter(|first| sizes.all(|size| size == *first)))
    }
}

/// Refuses a file that is both trained on and held out: a network is more confident on images that it was trained on,
/// so thresholds from them would promise too much.
pub(super) fn require_disjoint(training: &Dataset, held_out: &Dataset) -> Result<()> {
    let training: HashSet<PathBuf> = training.places()?.into_iter().collect();
    match held_out.places()?.into_iter().find(|place| training.contains(place)) {
        None => Ok(()),
        Some(path) => Err(TrainError::Overlap { path }.into()),
    }
}
