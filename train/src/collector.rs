//! Reads labelled files once: which rows can be used, and the images of those that are kept in memory.

use dismax::dataset::{Dataset, RowLabels};
use dismax::error::{Result, RowError};
use dismax::image::Preprocessing;
use dismax::run::{Progress, Run};

use super::data::LabelledImages;
use super::decode::Decoder;
use super::error::TrainError;
use super::row_use::RowUse;
use super::statistics::Statistics;
use super::whitening::Patches;

/// Rows that cannot be used: no label or no usable image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub rows: u64,
    /// The first of them, with its reason.
    pub example: Option<String>,
}

impl LeftOut {
    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.example = self.example.take().or(other.example);
    }
}

/// Collects the images of a dataset in one pass over it.
pub(super) struct ImageCollector<'a> {
    labels: &'a RowLabels,
    uses: &'a [RowUse],
    /// Whether training images are kept; the others always are.
    keep_training: bool,
    pub(super) training: LabelledImages,
    pub(super) held_out: LabelledImages,
    pub(super) selection: LabelledImages,
    /// Class of each row that is trained on.
    pub(super) training_classes: Vec<Option<u32>>,
    pub(super) statistics: Statistics,
    /// Of the training images, where they are wanted.
    pub(super) patches: Option<Patches>,
    pub(super) left_out: LeftOut,
}

impl<'a> ImageCollector<'a> {
    /// `uses` has an entry for each of the `labels`. Without `keep_training` the pixels of training rows are
    /// only counted in the statistics.
    pub(super) fn new(labels: &'a RowLabels, stored: &Preprocessing, uses: &'a [RowUse], keep_training: bool) -> Self {
        let of = |wanted: RowUse| uses.iter().filter(|used| **used == wanted).count();
        let room = |images: usize| LabelledImages::with_capacity(images, stored.height, stored.width);
        Self {
            labels,
            uses,
            keep_training,
            training: room(if keep_training { of(RowUse::Train) } else { 0 }),
            held_out: room(of(RowUse::HeldOut)),
            selection: room(of(RowUse::Select)),
            training_classes: vec![None; labels.classes.len()],
            statistics: Statistics::default(),
            patches: None,
            left_out: LeftOut::default(),
        }
    }

    /// Reads all rows of `dataset`.
    ///
    /// # Errors
    /// Whatever reading gives, [`TrainError::DataChanged`] if the dataset does not have as many rows as labels.
    pub(super) fn read(&mut self, dataset: &Dataset, decoder: &Decoder, run: &mut Run<'_>) -> Result<()> {
        let mut row = 0;
        for decoded in decoder.rows(dataset)? {
            let decoded = decoded?;
            for (offset, image) in decoded.images.into_iter().enumerate() {
                let place = || format!("{}, row {}", decoded.file, decoded.first_row + offset as u64);
                self.take(row, image, place)?;
                row += 1;
            }
            let failed = self.left_out.rows;
            run.report(Progress { task: "reading", rows: row as u64, of: dataset.rows(), failed })?;
        }
        match row == self.labels.classes.len() {
            true => Ok(()),
            false => Err(TrainError::DataChanged.into()),
        }
    }

    fn take(&mut self, row: usize, image: Result<Vec<u8>, RowError>, place: impl Fn() -> String) -> Result<()> {
        let label = *self.labels.classes.get(row).ok_or(TrainError::DataChanged)?;
        let (class, pixels) = match (label, image) {
            (Some(class), Ok(pixels)) => (class, pixels),
            (None, _) => {
                self.leave_out(|| format!("{}: the label is null", place()));
                return Ok(());
            }
            (_, Err(error)) => {
                self.leave_out(|| format!("{}: {error}", place()));
                return Ok(());
            }
        };
        match self.uses[row] {
            RowUse::HeldOut => self.held_out.push(&pixels, class),
            RowUse::Select => self.selection.push(&pixels, class),
            RowUse::Train => {
                self.training_classes[row] = Some(class);
                self.statistics.add(&pixels);
                if let Some(patches) = &mut self.patches {
                    let size = (self.training.height as usize, self.training.width as usize);
                    patches.add(&pixels, size);
                }
                if self.keep_training {
                    self.training.push(&pixels, class);
                }
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, reason: impl Fn() -> String) {
        self.left_out.rows += 1;
        self.left_out.example.get_or_insert_with(reason);
    }
}
