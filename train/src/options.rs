//! What a training is asked to do.

use serde::{Deserialize, Serialize};

use super::augment::Augmentation;
use super::class_weights::ClassWeights;
use super::error::TrainError;
use super::keep::Keep;
use super::objective::ObjectiveOptions;
use super::optimizer::SgdOptions;
use super::padding::Padding;
use super::schedule::Schedule;
use dismax::error::{Error, Result};
use dismax::loss::Loss;
use dismax::network::{Architecture, HeadKind};

/// Fewest mixed rows: each is mixed of four different images.
const MIN_MIXED_ROWS: f64 = 4.0;
/// Fewest rows that batch norm can take statistics of.
const MIN_ROWS: usize = 2;

/// The reference mixes the second half of each batch.
pub(super) const DEFAULT_MOSAIC_SHARE: f64 = 0.5;

/// Rows of a ghost batch, about. Batch norm takes its statistics from each on its own (Hoffer, Hubara, Soudry 2017,
/// arXiv 1705.08741), so that they are those of so many rows on any machine; accuracy falls with less than 16 (Wu, He
/// 2018, arXiv 1803.08494).
const GHOST_ROWS: usize = 32;

/// Options of a training. Equal options and data give equal weights on a CPU, bit for bit, whatever the workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainOptions {
    /// Network.
    pub architecture: Architecture,
    /// Loss.
    pub loss: Loss,
    /// Weight of the fractional probability term (the paper's alpha, 1).
    pub fractional_probability_weight: f64,
    /// How much rows count, by their class.
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// Which epoch's weights become the model.
    #[serde(default)]
    pub keep: Keep,
    /// Decay of the averaged weights, which are then measured and kept; none keeps the weights themselves.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Share of each target that is spread evenly over all classes, for losses with a linear head.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Share of each batch that is mixed, where the loss mixes.
    #[serde(default = "half")]
    pub mosaic_share: f64,
    /// Share of the epochs, from the first on, in which batches are mixed.
    #[serde(default = "all")]
    pub mosaic_epochs: f64,
    /// Whether the first convolution begins with filters that whiten the training images' patches.
    #[serde(default)]
    pub whitening: bool,
    /// Passes over the training rows.
    pub epochs: usize,
    /// Rows of one optimiser step, over all workers.
    pub batch_size: usize,
    /// Optimiser.
    pub sgd: SgdOptions,
    /// Learning rate over time.
    pub schedule: Schedule,
    /// SHA-256 of the weights below the head that it begins with, where they are not drawn at random.
    #[serde(default)]
    pub initial_weights: Option<String>,
    /// Random changes to the images.
    pub augmentation: Augmentation,
    /// Height and width of the network's input.
    pub size: (u32, u32),
    /// Channel means on the scale 0 to 1.
    pub mean: [f32; 3],
    /// Channel standard deviations on the scale 0 to 1.
    pub std: [f32; 3],
    /// Fixes initial weights, order, augmentation and the held-out rows.
    pub seed: u64,
    /// Replicas of the network that compute at the same time, each a ghost batch.
    pub workers: usize,
}

fn half() -> f64 {
    DEFAULT_MOSAIC_SHARE
}

fn all() -> f64 {
    1.0
}

impl TrainOptions {
    /// # Errors
    /// [`TrainError`](crate::TrainError) for values that no training can run with.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(TrainError::Options(message).into());
        if self.epochs == 0 || self.batch_size == 0 || self.workers == 0 {
            return refuse("epochs, batch size and workers must be at least 1".into());
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.sgd.learning_rate) {
            return refuse(format!("the learning rate must be above 0, not {}", self.sgd.learning_rate));
        }
        if !(0.0..1.0).contains(&self.sgd.momentum) || !(0.0..=1.0).contains(&self.sgd.weight_decay) {
            return refuse("momentum must lie in [0, 1) and weight decay in [0, 1]".into());
        }
        if !positive(self.sgd.backbone_rate) || self.sgd.backbone_rate > 1.0 {
            let rate = self.sgd.backbone_rate;
            return refuse(format!("the share of the learning rate below the head lies in (0, 1], not at {rate}"));
        }
        if matches!(self.loss.head(), HeadKind::Whitened(_)) {
            return refuse(format!("{} is fitted, and nothing can be trained with it", self.loss));
        }
        self.check_mosaics()?;
        if self.whitening && self.architecture.is_for_photographs() {
            let architecture = self.architecture;
            return refuse(format!("whitening is for a first convolution of 3x3, and that of {architecture} is 7x7"));
        }
        let alpha = self.fractional_probability_weight;
        if !(alpha.is_finite() && alpha >= 0.0) {
            return refuse(format!("the weight of the fractional probability term is 0 or above, not {alpha}"));
        }
        if self.augmentation.cutout() >= self.size.0.max(self.size.1) {
            let ((height, width), side) = (self.size, self.augmentation.cutout());
            return refuse(format!("a cutout of {side} pixels can black out a whole image of {height}x{width}"));
        }
        if let Augmentation::Crop { padding, fill: Padding::Reflect, .. } = self.augmentation
            && padding >= self.size.0.min(self.size.1)
        {
            let (height, width) = self.size;
            return refuse(format!(
                "images of {height}x{width} pixels are too narrow to be reflected by {padding} beyond their edges; pad them \
                 with black"
            ));
        }
        if self.ema.is_some_and(|decay| !(decay > 0.0 && decay < 1.0)) {
            return refuse("the decay of averaged weights must lie between 0 and 1, for example 0.999".into());
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return refuse(format!("label smoothing must lie in [0, 1), not at {}", self.label_smoothing));
        }
        if self.label_smoothing > 0.0 && self.loss.head() != HeadKind::Softmax {
            let loss = self.loss;
            return refuse(format!(
                "label smoothing works against the entropic scale of {loss}; use it with softmax, logitnorm, t2fnorm or \
                 elogitnorm"
            ));
        }
        let smallest = self.architecture.smallest_image();
        if self.size.0 < smallest || self.size.1 < smallest {
            let (architecture, (height, width)) = (self.architecture, self.size);
            return Err(TrainError::ImageTooSmall { architecture, smallest, height, width }.into());
        }
        if self.std.iter().any(|&value| !positive(f64::from(value))) || self.mean.iter().any(|mean| !mean.is_finite()) {
            return refuse("channel means must be finite and standard deviations above 0".into());
        }
        Ok(())
    }

    fn check_mosaics(&self) -> Result<()> {
        let refuse = |message: String| Err(TrainError::Options(message).into());
        let share = self.mosaic_share;
        if !(share > 0.0 && share < 1.0 && (0.0..=1.0).contains(&self.mosaic_epochs)) {
            return refuse("the share of mosaics must lie between 0 and 1, and that of their epochs in [0, 1]".into());
        }
        let is_default = share == DEFAULT_MOSAIC_SHARE && self.mosaic_epochs == 1.0;
        match is_default || self.loss.fractional_probability() {
            true => Ok(()),
            false => refuse(format!("only dismax-dagger mixes images; {} has no mosaics", self.loss)),
        }
    }

    /// Share of each batch of an epoch, from 0, that is mixed.
    pub(super) fn mixed_share(&self, epoch: usize) -> f64 {
        let mixed_epochs = (self.mosaic_epochs * self.epochs as f64).round() as usize;
        if self.loss.fractional_probability() && epoch < mixed_epochs { self.mosaic_share } else { 0.0 }
    }

    /// What is minimised, where the rows of each class count as much as `class_weights` says.
    pub(super) fn objective(&self, class_weights: Option<Vec<f32>>) -> ObjectiveOptions {
        ObjectiveOptions {
            loss: self.loss,
            alpha: self.fractional_probability_weight,
            class_weights,
            label_smoothing: self.label_smoothing,
            mixed_share: self.mosaic_share,
        }
    }

    /// Ghost batches that each batch of `rows` training rows is cut into: each must be large enough.
    ///
    /// # Errors
    /// [`Error::Extension`] with [`TrainError::BatchTooSmall`] if not even a whole batch is.
    pub fn ghosts(&self, rows: usize) -> Result<usize> {
        let share = self.mosaic_share;
        let fewest = match self.loss.fractional_probability() {
            // Some rows must stay whole as well.
            true => (MIN_MIXED_ROWS / share).max(1.0 / (1.0 - share)).ceil() as usize,
            false => MIN_ROWS,
        };
        let fits = |ghosts: usize| super::loader::BatchPlan::new(rows, self.batch_size, ghosts).min_rows() >= fewest;
        let most = (self.batch_size / GHOST_ROWS).max(1);
        (1..=most).rev().find(|&ghosts| fits(ghosts)).ok_or_else(|| {
            let (loss, batch_size) = (self.loss, self.batch_size);
            Error::from(TrainError::BatchTooSmall { loss, smallest: fewest, batch_size, rows })
        })
    }
}
