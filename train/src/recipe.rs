//! From what a user says about a training to every option of it.

use std::thread;

use super::augment::Augmentation;
use super::class_weights::ClassWeights;
use super::error::TrainError;
use super::flip::Flip;
use super::keep::Keep;
use super::optimizer::SgdOptions;
use super::options::{DEFAULT_MOSAIC_SHARE, TrainOptions};
use super::padding::Padding;
use super::schedule::Schedule;
use dismax::error::Result;
use dismax::image::{Preprocessing, Resize};
use dismax::loss::Loss;
use dismax::network::Architecture;

/// Largest own size that small networks take over from the images.
const MAX_OWN_SIZE: u32 = 64;

/// Rows of a step by default.
const SMALL_BATCH: usize = 64;
/// The same on a GPU: at 64 rows it would wait for the host most of the time.
const LARGE_BATCH: usize = 512;
/// Fewest steps of an epoch for which large batches are the default: a small dataset needs the steps.
const STEPS_OF_LARGE_BATCHES: usize = 64;

/// Share of the learning rate for weights that were trained before: they are near where they should be.
const BACKBONE_RATE: f64 = 0.1;

/// How to train. What is `None` follows from the schedule, the network and the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Network.
    pub architecture: Architecture,
    /// Loss.
    pub loss: Loss,
    /// Passes over the data: 30 for one cycle (100 on a GPU with batches of 512 and more), else 300.
    pub epochs: Option<usize>,
    /// Rows of a step: 64; 512 for one cycle on a GPU with enough rows.
    pub batch_size: Option<usize>,
    /// Peak learning rate: 0.1; 0.4 for one cycle on a GPU with batches of 512 and more.
    pub learning_rate: Option<f64>,
    /// L2 penalty: 5e-4 for one cycle, else 1e-4.
    pub weight_decay: Option<f64>,
    /// Learning rate over time: one cycle. The reference's is multi-step.
    pub schedule: Option<Schedule>,
    /// Weight of the fractional probability term: 1.
    pub fractional_probability_weight: f64,
    /// Share of the learning rate that the weights below the head get: all of it, and a tenth where they were trained
    /// before.
    pub backbone_rate: Option<f64>,
    /// How much rows count, by their class.
    pub class_weights: ClassWeights,
    /// Which epoch's weights become the model.
    pub keep: Keep,
    /// Decay of an exponential moving average of the weights, which becomes the model; none keeps the weights
    /// themselves.
    pub ema: Option<f64>,
    /// Share of each target that is spread evenly over all classes: 0. For losses with a linear head.
    pub label_smoothing: f64,
    /// Share of each batch that DisMax† mixes: 0.5.
    pub mosaic_share: f64,
    /// Share of the epochs, from the first on, in which DisMax† mixes: 1.
    pub mosaic_epochs: f64,
    /// Whether the first convolution begins with filters that whiten the training images' patches.
    pub whitening: bool,
    /// Height and width of the network's input.
    pub size: Option<(u32, u32)>,
    /// Whether images are cropped at random.
    pub crop: bool,
    /// When images are mirrored. Wrong for digits and text.
    pub flip: Flip,
    /// What lies beyond the edge of an image that is cropped at random.
    pub padding: Padding,
    /// Side of a black square at a random place of each image, in pixels: 0, none.
    pub cutout: u32,
    /// Channel means and standard deviations; measured on the training images by default.
    pub normalization: Option<([f32; 3], [f32; 3])>,
    /// Fixes every random choice.
    pub seed: u64,
    /// Replicas on a CPU that compute at the same time: one per core. The result does not depend on them.
    pub workers: Option<usize>,
}

impl Recipe {
    /// The defaults for a network and a loss.
    pub fn new(architecture: Architecture, loss: Loss) -> Self {
        Self {
            architecture,
            loss,
            epochs: None,
            batch_size: None,
            learning_rate: None,
            weight_decay: None,
            schedule: None,
            fractional_probability_weight: 1.0,
            backbone_rate: None,
            class_weights: ClassWeights::Equal,
            keep: Keep::Last,
            ema: None,
            label_smoothing: 0.0,
            mosaic_share: DEFAULT_MOSAIC_SHARE,
            mosaic_epochs: 1.0,
            whitening: false,
            size: None,
            crop: true,
            flip: Flip::Random,
            padding: Padding::Black,
            cutout: 0,
            normalization: None,
            seed: 0,
            workers: None,
        }
    }

    /// The same where the weights below the head were trained before, `with` this preprocessing where it is known.
    pub(super) fn continuing(self, with: Option<&Preprocessing>) -> Self {
        Self {
            backbone_rate: self.backbone_rate.or(Some(BACKBONE_RATE)),
            size: self.size.or(with.map(|before| (before.height, before.width))),
            normalization: self.normalization.or(with.map(|before| (before.mean, before.std))),
            ..self
        }
    }

    /// The first option that says how to train and not what: where nothing is trained, it would do nothing.
    pub(super) fn first_of_training(&self) -> Option<&'static str> {
        let plain = Self::new(self.architecture, Loss::Dismax);
        let given = [
            ("loss", self.loss != plain.loss),
            ("epochs", self.epochs.is_some()),
            ("batch_size", self.batch_size.is_some()),
            ("lr", self.learning_rate.is_some()),
            ("backbone_rate", self.backbone_rate.is_some()),
            ("weight_decay", self.weight_decay.is_some()),
            ("schedule", self.schedule.is_some()),
            (
                "fractional_probability_weight",
                self.fractional_probability_weight != plain.fractional_probability_weight,
            ),
            ("class_weights", self.class_weights != plain.class_weights),
            ("keep", self.keep != plain.keep),
            ("ema", self.ema != plain.ema),
            ("label_smoothing", self.label_smoothing != plain.label_smoothing),
            ("mosaic_share", self.mosaic_share != plain.mosaic_share),
            ("mosaic_epochs", self.mosaic_epochs != plain.mosaic_epochs),
            ("whitening", self.whitening != plain.whitening),
            ("crop", self.crop != plain.crop),
            ("flip", self.flip != plain.flip),
            ("padding", self.padding != plain.padding),
            ("cutout", self.cutout != plain.cutout),
            ("workers", self.workers.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// Whether the images' own size matters: no size was asked for and the network takes small ones.
    pub fn wants_own_size(&self) -> bool {
        self.size.is_none() && !self.architecture.is_for_photographs()
    }

    /// The preprocessing of the finished model, up to the channel statistics; `found` is the size that all images have.
    ///
    /// # Errors
    /// [`TrainError`](crate::TrainError) for a size that the network cannot take.
    pub fn preprocessing(&self, found: Option<(u32, u32)>) -> Result<Preprocessing> {
        let own = |(height, width): (u32, u32)| {
            let range = self.architecture.smallest_image()..=MAX_OWN_SIZE;
            range.contains(&height) && range.contains(&width)
        };
        let size = match self.wants_own_size() {
            true => found.filter(|&found| own(found)),
            false => self.size,
        };
        let preprocessing = self.architecture.preprocessing(size);
        let smallest = self.architecture.smallest_image();
        if preprocessing.height < smallest || preprocessing.width < smallest {
            let Preprocessing { height, width, .. } = preprocessing;
            return Err(TrainError::ImageTooSmall { architecture: self.architecture, smallest, height, width }.into());
        }
        Ok(Preprocessing { orientation: true, reduced: true, ..preprocessing })
    }

    /// Every option of a training on `rows` rows. `stored` has the size of the stored images and the statistics of the
    /// training images.
    ///
    /// # Errors
    /// [`TrainError`](crate::TrainError) for values that no training can run with.
    pub fn options(&self, stored: &Preprocessing, device: tch::Device, rows: usize) -> Result<TrainOptions> {
        let schedule = self.schedule.unwrap_or(Schedule::OneCycle);
        let one_cycle = schedule == Schedule::OneCycle;
        let suits_large = device.is_cuda() && one_cycle;
        let is_large = suits_large && rows >= LARGE_BATCH * STEPS_OF_LARGE_BATCHES;
        let batch_size = self.batch_size.unwrap_or(if is_large { LARGE_BATCH } else { SMALL_BATCH });
        let has_large_batches = suits_large && batch_size >= LARGE_BATCH;
        let size = match stored.resize {
            Resize::Exact => (stored.height, stored.width),
            Resize::ShorterSide { .. } => {
                let target = self.preprocessing(None)?;
                (target.height, target.width)
            }
        };
        if !self.crop && self.padding == Padding::Reflect {
            return Err(TrainError::Options("only random crops see anything beyond an image's edges".into()).into());
        }
        let cutout = self.cutout;
        let augmentation = match (self.crop, stored.resize) {
            (_, Resize::ShorterSide { .. }) if cutout > 0 => {
                let message = "cutout is for images of the network's own size, not for random crops of photographs";
                return Err(TrainError::Options(message.into()).into());
            }
            (true, Resize::ShorterSide { .. }) if self.padding == Padding::Reflect => {
                let message = "random crops of photographs stay within the picture and need no padding";
                return Err(TrainError::Options(message.into()).into());
            }
            (true, Resize::ShorterSide { .. }) => Augmentation::ResizedCrop { flip: self.flip },
            (true, Resize::Exact) => {
                Augmentation::Crop { padding: size.0.max(size.1) / 8, flip: self.flip, fill: self.padding, cutout }
            }
            (false, Resize::Exact) if self.flip != Flip::None || cutout > 0 => {
                Augmentation::Crop { padding: 0, flip: self.flip, fill: self.padding, cutout }
            }
            (false, Resize::Exact) => Augmentation::None,
            (false, Resize::ShorterSide { .. }) => {
                return Err(TrainError::CropsNeeded.into());
            }
        };
        let (mean, std) = self.normalization.unwrap_or((stored.mean, stored.std));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let options = TrainOptions {
            architecture: self.architecture,
            loss: self.loss,
            fractional_probability_weight: self.fractional_probability_weight,
            class_weights: self.class_weights,
            keep: self.keep,
            ema: self.ema,
            label_smoothing: self.label_smoothing,
            mosaic_share: self.mosaic_share,
            mosaic_epochs: self.mosaic_epochs,
            whitening: self.whitening,
            epochs: self.epochs.unwrap_or(match (one_cycle, has_large_batches) {
                (true, true) => 100,
                (true, false) => 30,
                (false, _) => 300,
            }),
            batch_size,
            sgd: SgdOptions {
                learning_rate: self.learning_rate.unwrap_or(if has_large_batches { 0.4 } else { 0.1 }),
                weight_decay: self.weight_decay.unwrap_or(if one_cycle { 5e-4 } else { 1e-4 }),
                backbone_rate: self.backbone_rate.unwrap_or(1.0),
                ..SgdOptions::default()
            },
            schedule,
            initial_weights: None,
            augmentation,
            size,
            mean,
            std,
            seed: self.seed,
            workers: self.workers.unwrap_or(if device.is_cuda() { 1 } else { cores }),
        };
        options.check()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_takes_large_batches_of_large_datasets() -> Result<()> {
        let recipe = Recipe::new(Architecture::Resnet34, Loss::DismaxDagger);
        let stored = recipe.preprocessing(None)?;
        let (cpu, gpu) = (tch::Device::Cpu, tch::Device::Cuda(0));
        let multi_step = Recipe { schedule: Some(Schedule::MultiStep), ..recipe.clone() };
        let [asked, large] = [256, 512].map(|rows| Recipe { batch_size: Some(rows), ..recipe.clone() });
        for (recipe, device, rows, expected) in [
            (&recipe, cpu, 45_000, (64, 0.1, 30)),
            (&recipe, gpu, 45_000, (512, 0.4, 100)),
            (&recipe, gpu, 10_000, (64, 0.1, 30)),
            (&multi_step, gpu, 45_000, (64, 0.1, 300)),
            (&asked, gpu, 45_000, (256, 0.1, 30)),
            (&large, cpu, 45_000, (512, 0.1, 30)),
            (&large, gpu, 1_000, (512, 0.4, 100)),
        ] {
            let options = recipe.options(&stored, device, rows)?;
            let found = (options.batch_size, options.sgd.learning_rate, options.epochs);
            assert_eq!(found, expected, "{device:?}, {rows} rows");
        }
        Ok(())
    }
}
