//! One reading of labelled files: which rows can be used, and the images of those that are kept.

use super::data::LabelledImages;
use super::error::TrainError;
use super::job::JobEvent;
use super::reading::Reading;
use super::statistics::Statistics;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, RowLabels};
use dismax::error::{Result, RowError};
use dismax::image::Preprocessing;

/// One reading of the training files.
pub(super) struct Pass<'a> {
    pub(super) labels: &'a RowLabels,
    pub(super) is_held_out: &'a [bool],
    pub(super) keep_all: bool,
    pub(super) images: LabelledImages,
    pub(super) training: Vec<usize>,
    pub(super) held_out: Vec<usize>,
    pub(super) training_classes: Vec<Option<u32>>,
    pub(super) statistics: Statistics,
    pub(super) left_out: u64,
    pub(super) example: Option<String>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(labels: &'a RowLabels, stored: &Preprocessing, keep_all: bool, is_held_out: &'a [bool]) -> Self {
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

    pub(super) fn read(
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
        Err(TrainError::DataChanged.into())
    }

    pub(super) fn take(&mut self, row: usize, image: Result<Vec<u8>, RowError>, place: impl Fn() -> String) {
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

    pub(super) fn leave_out(&mut self, reason: impl Fn() -> String) {
        self.left_out += 1;
        self.example.get_or_insert_with(reason);
    }
}
