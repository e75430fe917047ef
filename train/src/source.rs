//! The files of a training: opened, with their columns, and which of them are held out.

use std::path::PathBuf;
use std::thread;

use super::data::LabelledImages;
use super::error::TrainError;
use super::job::{JobEvent, TrainJob};
use super::pass::Pass;
use super::reading::Reading;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, ImageColumn, Input, LabelColumn, RowLabels, resolve};
use dismax::error::{Error, Result};
use dismax::image::Preprocessing;

/// An opened dataset with its two columns.
pub(super) struct Source {
    pub(super) dataset: Dataset,
    pub(super) image: ImageColumn,
    pub(super) label: LabelColumn,
}

impl Source {
    pub(super) fn open(inputs: &[String], job: &TrainJob, cancel: &Cancel) -> Result<Self> {
        let dataset = Dataset::open_cancellable(inputs, cancel)?;
        dataset.require_distinct_files()?;
        let image = dataset.image_column(job.image.as_deref())?;
        job.load.require_paths(&image)?;
        let label = dataset.label_column(job.label.as_deref())?;
        Ok(Self { dataset, image, label })
    }

    pub(super) fn reading(&self, job: &TrainJob, stored: &Preprocessing) -> Reading {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Reading { column: self.image.clone(), load: job.load, preprocessing: stored.clone(), threads }
    }

    /// The recipe's preprocessing; small networks take the images' own size where all of the first rows agree on one.
    pub(super) fn preprocessing(&self, job: &TrainJob) -> Result<Preprocessing> {
        let found = match job.recipe.wants_own_size() {
            true => self.common_size(job)?,
            false => None,
        };
        job.recipe.preprocessing(found)
    }

    pub(super) fn common_size(&self, job: &TrainJob) -> Result<Option<(u32, u32)>> {
        let Some(chunk) = self.dataset.read(64, Some(&[self.image.index()]))?.next() else { return Ok(None) };
        let chunk = chunk?;
        let images = self.image.images(&chunk)?;
        let mut sizes = (0..chunk.record_batch.num_rows()).filter_map(|row| {
            let image = job.load.load(&images, row).ok()?;
            Some((image.height, image.width))
        });
        let first = sizes.next();
        Ok(first.filter(|first| sizes.all(|size| size == *first)))
    }
}

/// Held-out rows of files of their own.
pub(super) struct HeldOutFiles {
    pub(super) source: Source,
    pub(super) labels: RowLabels,
}

impl HeldOutFiles {
    pub(super) fn open(files: &[String], names: &[String], job: &TrainJob, cancel: &Cancel) -> Result<Self> {
        let source = Source::open(files, job, cancel)?;
        let labels = RowLabels::read(&source.dataset, &source.label, Some(names))?;
        Ok(Self { source, labels })
    }

    /// The images, how many rows were left out, and why the first of them.
    pub(super) fn read(
        &self,
        job: &TrainJob,
        stored: &Preprocessing,
        cancel: &Cancel,
        observe: &mut dyn FnMut(JobEvent<'_>),
    ) -> Result<(LabelledImages, u64, Option<String>)> {
        let is_held_out = vec![true; self.labels.classes.len()];
        let mut pass = Pass::new(&self.labels, stored, false, &is_held_out);
        pass.read(&self.source.dataset, &self.source.reading(job, stored), cancel, observe)?;
        Ok((pass.images, pass.left_out, pass.example))
    }
}

/// A network is surer of images that it was trained on: thresholds from them would promise too much.
pub(super) fn refuse_common_files(training: &[String], held_out: &[String]) -> Result<()> {
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
        Some(path) => Err(TrainError::Overlap { path }.into()),
    }
}
