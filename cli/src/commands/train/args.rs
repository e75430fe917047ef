//! Flags of `dismax train`.

use std::path::PathBuf;

use dismax::embedding::EmbeddingHead;
use dismax::loss::Loss;
use dismax::network::Architecture;
use dismax::{Device, Error, Result};
use dismax_train::{ClassWeights, Flip, HeldOut, Keep, Padding, RecipeFile, Schedule};

use crate::args::{
    self, CalibrationArgs, ImageArgs, InputArgs, LabelArgs, Rgb, architectures, at_least_one, heads, losses, named,
    positive,
};

pub const EXAMPLES: &str = "\
Examples:
  # Labelled images; a tenth of each class is held out for validation, calibration and thresholds
  dismax train train.parquet --out model
  # Without mirroring, for digits and text
  dismax train digits.parquet --out model --no-flip --epochs 15
  # Rare classes; the best epoch; averaged weights
  dismax train train.parquet --out model --class-weights balanced --keep best --ema 0.999
  # The recipe of another model, with other epochs
  dismax train train.parquet --out model --recipe other-model/recipe.json --epochs 60
  # The recipe of the paper
  dismax train train.parquet --out model --arch resnet34 --loss dismax-dagger --schedule multi-step --epochs 300
  # After an interruption
  dismax train train.parquet --out model --resume
  # From a network that others trained on photographs: a head in one pass, or all of it further
  dismax train photos/ --init resnet50.safetensors --arch resnet50 --freeze --out model
  dismax train photos/ --init resnet50.safetensors --arch resnet50 --epochs 5 --out model
  # On embeddings that another network made: one pass, no epochs
  dismax train vectors.parquet --embedding clip --out model

After every epoch, on a GPU once a minute, a checkpoint is written next to the model. --resume with the same flags continues
from it; on a CPU the result is the same bit for bit. Beside it MODEL.metrics.jsonl has the figures of all epochs, one JSON object
a line. The model folder holds the network, its calibration, these figures, the recipe, a model card and a training chart.";

/// Flags that say how to train, which nothing does with --freeze.
const OF_TRAINING: [&str; 24] = [
    "embedding",
    "resume",
    "epochs",
    "batch_size",
    "lr",
    "backbone_rate",
    "weight_decay",
    "schedule",
    "workers",
    "loss",
    "recipe",
    "class_weights",
    "keep",
    "ema",
    "label_smoothing",
    "mosaic_share",
    "mosaic_epochs",
    "whitening",
    "no_flip",
    "flip",
    "no_crop",
    "padding",
    "cutout",
    "memory",
];

/// Flags of `dismax train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Labelled training images: Parquet, Arrow or tar files, folders of these or of images, addresses, patterns.
    #[arg(required = true, value_name = "TRAIN")]
    pub inputs: Vec<String>,

    /// Folder to write the model to.
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,

    /// Replace an existing model and, without --resume, its checkpoint.
    #[arg(long)]
    pub force: bool,

    /// Continue from the checkpoint of an interrupted training if there is one.
    #[arg(long, conflicts_with = "embedding")]
    pub resume: bool,

    /// Rows for validation, calibration and thresholds: a fraction of every class, or files (repeatable).
    #[arg(long, value_name = "FRACTION|FILE", default_value = "0.1")]
    pub validation: Vec<String>,

    /// Print the result as JSON to standard output.
    #[arg(long)]
    pub json: bool,

    /// Network architecture. The first five are for small images, the others for photographs [default: resnet20; that
    /// of the model that --init names].
    #[arg(long, value_parser = architectures(), conflicts_with = "embedding", help_heading = "Recipe")]
    pub arch: Option<Architecture>,

    /// Begin with these weights below the head: a model's folder, or a safetensors file with the names of torchvision,
    /// timm or the reference.
    #[arg(long, value_name = "MODEL|FILE", conflicts_with = "embedding", help_heading = "Recipe")]
    pub init: Option<PathBuf>,

    /// Leave the weights below the head as they are: one pass over the images, then --head in closed form.
    #[arg(long, requires = "init", conflicts_with_all = OF_TRAINING, help_heading = "Recipe")]
    pub freeze: bool,

    /// A file with options of the recipe, under the names that the flags below have, with _ instead of -: TOML, or JSON
    /// if its name ends in .json. Flags go before it. A trained model has the recipe of its training in recipe.json.
    #[arg(long, value_name = "FILE", conflicts_with = "embedding", help_heading = "Recipe")]
    pub recipe: Option<PathBuf>,

    /// Loss [default: dismax]; it also determines the head. dismax-dagger adds fractional probability regularization,
    /// for large networks and long trainings. softmax, logitnorm, t2fnorm and elogitnorm have a linear head.
    #[arg(long, value_parser = losses(), conflicts_with = "embedding", help_heading = "Recipe")]
    pub loss: Option<Loss>,

    /// Passes over the training rows [default: 30 for one-cycle, 100 on a GPU with batches of 512 or more; else
    /// 300].
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "embedding", help_heading = "Recipe")]
    pub epochs: Option<usize>,

    /// Rows per optimiser step [default: 64; 512 for one-cycle on a GPU with 32,768 training rows or more].
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "embedding", help_heading = "Recipe")]
    pub batch_size: Option<usize>,

    /// Peak learning rate [default: 0.1; 0.4 for one-cycle on a GPU with batches of 512 or more].
    #[arg(long, value_name = "X", value_parser = positive, conflicts_with = "embedding", help_heading = "Recipe")]
    pub lr: Option<f64>,

    /// Share of the learning rate that the weights below the head get, at most 1 [default: 1; 0.1 with --init].
    #[arg(long, value_name = "SHARE", value_parser = positive, conflicts_with = "embedding", help_heading = "Recipe")]
    pub backbone_rate: Option<f64>,

    /// L2 penalty on all parameters [default: 5e-4 for one-cycle, else 1e-4].
    #[arg(long, value_name = "X", conflicts_with = "embedding", help_heading = "Recipe")]
    pub weight_decay: Option<f64>,

    /// Learning rate schedule [default: one-cycle].
    #[arg(long, value_parser = named::<Schedule, _>(Schedule::ALL.map(Schedule::name)), conflicts_with = "embedding", help_heading = "Recipe")]
    pub schedule: Option<Schedule>,

    /// How much rows count in the training, by their class. balanced suits datasets with rare classes: every class then
    /// counts the same [default: equal].
    #[arg(long, value_parser = named::<ClassWeights, _>(ClassWeights::ALL.map(ClassWeights::name)), conflicts_with = "embedding", help_heading = "Recipe")]
    pub class_weights: Option<ClassWeights>,

    /// Which epoch's weights become the model [default: last].
    ///
    /// best sets another tenth of every class apart, measures it after every epoch, and keeps the epoch with the
    /// highest accuracy there. The rows of --validation have no say in it, so that they can calibrate the model.
    #[arg(long, value_parser = named::<Keep, _>(Keep::ALL.map(Keep::name)), conflicts_with = "embedding", help_heading = "Recipe")]
    pub keep: Option<Keep>,

    /// Average the weights over the steps, of which each keeps this share of the average, for example 0.999, and
    /// measure and keep the average; 0 does not.
    #[arg(long, value_name = "DECAY", value_parser = ema_decay, conflicts_with = "embedding", help_heading = "Recipe")]
    pub ema: Option<f64>,

    /// Share of each target that is spread over all classes, for losses with a linear head [default: 0].
    #[arg(long, value_name = "SHARE", conflicts_with = "embedding", help_heading = "Recipe")]
    pub label_smoothing: Option<f64>,

    /// Share of each batch that dismax-dagger mixes [default: 0.5].
    #[arg(long, value_name = "SHARE", value_parser = args::share, conflicts_with = "embedding", help_heading = "Recipe")]
    pub mosaic_share: Option<f64>,

    /// Share of the epochs in which dismax-dagger mixes; the last ones then see whole images only [default: 1].
    #[arg(long, value_name = "SHARE", conflicts_with = "embedding", help_heading = "Recipe")]
    pub mosaic_epochs: Option<f64>,

    /// Begin with a first convolution that whitens patches of the training images, for networks for small images
    /// [default: false].
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        conflicts_with = "embedding",
        help_heading = "Recipe"
    )]
    pub whitening: Option<bool>,

    /// Random seed for held-out rows, initial weights, row order and augmentation [default: 0].
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    pub seed: Option<u64>,

    /// Input size of the network, 32 or HEIGHTxWIDTH [default: the images' size if the first 64 share a small one, else
    /// 32; 224 for photographs].
    #[arg(long, value_name = "SIZE", value_parser = args::size, conflicts_with = "embedding", help_heading = "Recipe")]
    pub image_size: Option<(u32, u32)>,

    /// Which images are mirrored [default: random]. alternating mirrors each of them in every other epoch.
    #[arg(long, value_parser = named::<Flip, _>(Flip::ALL.map(Flip::name)), conflicts_with = "embedding", help_heading = "Recipe")]
    pub flip: Option<Flip>,

    /// No mirroring, as --flip none: for digits, text and anything that has a left and a right.
    #[arg(long, conflicts_with_all = ["embedding", "flip"], help_heading = "Recipe")]
    pub no_flip: bool,

    /// What lies beyond the edges of images that are cropped at random [default: black].
    #[arg(long, value_parser = named::<Padding, _>(Padding::ALL.map(Padding::name)), conflicts_with = "embedding", help_heading = "Recipe")]
    pub padding: Option<Padding>,

    /// Black out a square of this side at a random place of each image [default: none].
    #[arg(long, value_name = "PIXELS", conflicts_with = "embedding", help_heading = "Recipe")]
    pub cutout: Option<u32>,

    /// No random cropping.
    #[arg(long, conflicts_with = "embedding", help_heading = "Recipe")]
    pub no_crop: bool,

    /// Channel means from 0 to 1 [default: measured on the training images; with --init those of before].
    #[arg(long, value_name = "R,G,B", requires = "std", conflicts_with = "embedding", help_heading = "Recipe")]
    pub mean: Option<Rgb>,

    /// Channel standard deviations from 0 to 1 [default: measured on the training images; with --init those of before].
    #[arg(long, value_name = "R,G,B", requires = "mean", conflicts_with = "embedding", help_heading = "Recipe")]
    pub std: Option<Rgb>,

    /// Head that --embedding and --freeze fit. mahalanobis finds rows that are far from everything better, dismax those
    /// between the classes [default: dismax].
    #[arg(long, value_parser = heads(), help_heading = "Recipe")]
    pub head: Option<EmbeddingHead>,

    #[command(flatten)]
    pub calibration: CalibrationArgs,

    #[command(flatten)]
    pub input: InputArgs,

    #[command(flatten)]
    pub images: ImageArgs,

    #[command(flatten)]
    pub labels: LabelArgs,

    /// Where to train: auto, cpu, cuda or cuda:N.
    #[arg(
        long,
        env = "DISMAX_DEVICE",
        hide_env_values = true,
        default_value_t = Device::Auto,
        help_heading = "Machine"
    )]
    pub device: Device,

    /// Replicas of the network that compute at the same time, on a CPU 32 rows each [default: one per core on a CPU,
    /// one on a GPU]. Does not change the result on a CPU.
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "embedding", help_heading = "Machine")]
    pub workers: Option<usize>,

    /// Memory for decoded training images. A larger dataset is read again in every epoch.
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = args::bytes,
        default_value = "8GiB",
        conflicts_with = "embedding",
        help_heading = "Machine"
    )]
    pub memory: u64,
}

impl Args {
    /// What the flags say about the recipe.
    pub fn recipe(&self) -> RecipeFile {
        RecipeFile {
            arch: self.arch,
            loss: self.loss,
            epochs: self.epochs,
            batch_size: self.batch_size,
            lr: self.lr,
            backbone_rate: self.backbone_rate,
            weight_decay: self.weight_decay,
            schedule: self.schedule,
            fractional_probability_weight: None,
            class_weights: self.class_weights,
            keep: self.keep,
            ema: self.ema,
            label_smoothing: self.label_smoothing,
            mosaic_share: self.mosaic_share,
            mosaic_epochs: self.mosaic_epochs,
            whitening: self.whitening,
            image_size: self.image_size,
            crop: self.no_crop.then_some(false),
            flip: self.flip.or(self.no_flip.then_some(Flip::None)),
            padding: self.padding,
            cutout: self.cutout,
            mean: self.mean.map(|mean| mean.0),
            std: self.std.map(|std| std.0),
            seed: self.seed,
        }
    }
}

/// A number from 0 to 1, 1 excluded.
fn ema_decay(text: &str) -> Result<f64, String> {
    let decay = text.parse().ok().filter(|decay| (0.0..1.0).contains(decay));
    decay.ok_or_else(|| "give a number below 1, for example 0.999, or 0".into())
}

/// The rows that `--validation` names.
pub fn held_out(values: &[String]) -> Result<HeldOut> {
    let fractions: Vec<f64> = values.iter().filter_map(|value| value.parse().ok()).collect();
    match (fractions.as_slice(), values.len()) {
        ([fraction], 1) => Ok(HeldOut::Fraction(*fraction)),
        ([], _) => Ok(HeldOut::Files(values.to_vec())),
        _ => Err(Error::Config("--validation takes either one fraction such as 0.1 or files, not both".into())),
    }
}
