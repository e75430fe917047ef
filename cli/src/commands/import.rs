//! `dismax import`.

use std::path::PathBuf;

use dismax::dataset::Dataset;
use dismax::image::Preprocessing;
use dismax::loss::Loss;
use dismax::model::{FORMAT_VERSION, ImageInput, Model, ModelConfig, ModelInput};
use dismax::network::Architecture;
use dismax::{Error, Result};

use crate::args::{self, Rgb, architectures, losses};
use crate::context::Context;
use crate::exit::Outcome;
use crate::text;

pub const EXAMPLES: &str = "\
Examples:
  # Weights that the Python reference trained, saved with safetensors.torch.save_file(model.state_dict(), ...)
  dismax import resnet34.safetensors --arch resnet34 --loss dismax-dagger --classes-from train.parquet --out model \\
      --mean 0.491,0.482,0.446 --std 0.247,0.243,0.261
  dismax import weights.safetensors --arch resnet20 --loss dismax --classes cat,dog --out model
  dismax calibrate model --data validation.parquet

  # A network of torchvision or timm, with its own head
  dismax import resnet50.safetensors --arch resnet50 --loss softmax --classes @imagenet.txt --out resnet50

Names of weights are those of the reference's checkpoints, of torchvision or of timm. An imported
model has to be calibrated before it scores.";

/// Flags of `dismax import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The weights, as safetensors. Other checkpoint formats can run code and are not read.
    #[arg(value_name = "CHECKPOINT.safetensors")]
    checkpoint: PathBuf,

    /// Architecture of the network.
    #[arg(long, value_parser = architectures())]
    arch: Architecture,

    /// Loss that the network was trained with; it determines the head.
    #[arg(long, value_parser = losses(), default_value_t = Loss::Dismax)]
    loss: Loss,

    /// Class names in the order of the logits: `a,b,c`, or @FILE with a name on each line.
    #[arg(long, value_name = "NAMES", required_unless_present = "classes_from", conflicts_with = "classes_from")]
    classes: Option<String>,

    /// Dataset whose label column names the classes.
    #[arg(long, value_name = "DATASET")]
    classes_from: Option<String>,

    /// Label column of that dataset. Needed only if several columns fit or its name is unusual.
    #[arg(long, value_name = "COLUMN", requires = "classes_from")]
    label: Option<String>,

    /// Folder to write the model to.
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,

    /// Replace an existing model.
    #[arg(long)]
    force: bool,

    /// Input size, 32 or HEIGHTxWIDTH [default: 32, or 224 for photographs].
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    image_size: Option<(u32, u32)>,

    /// Channel means that the network was trained with, from 0 to 1.
    #[arg(long, value_name = "R,G,B", requires = "std")]
    mean: Option<Rgb>,

    /// Channel standard deviations that the network was trained with, from 0 to 1.
    #[arg(long, value_name = "R,G,B", requires = "mean")]
    std: Option<Rgb>,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    Model::check_place(&args.out, args.force)?;
    let classes = classes(args, context)?;
    let mut preprocessing = args.arch.preprocessing(args.image_size);
    if let Some((mean, std)) = args.mean.zip(args.std) {
        preprocessing = Preprocessing { mean: mean.0, std: std.0, ..preprocessing };
    }
    let (mean, std) = (preprocessing.mean, preprocessing.std);
    let config = ModelConfig {
        format_version: FORMAT_VERSION,
        input: ModelInput::Images(ImageInput { architecture: args.arch, loss: args.loss, preprocessing }),
        classes,
        origin: format!(
            "imported from {}",
            args.checkpoint.file_name().unwrap_or(args.checkpoint.as_os_str()).to_string_lossy()
        ),
    };
    let mut model = Model::import(&args.checkpoint, config)?;
    context.cancel.check()?;
    model.write(&args.out, args.force)?;
    if args.mean.is_none() {
        context.ui.warn(format!("no --mean and --std given: {mean:?} and {std:?} are taken; wrong ones cost accuracy"));
    }
    let name = args.out.display().to_string();
    context
        .ui
        .note(text::list(&[("model", name.clone()), ("next", format!("dismax calibrate {name} --data VALIDATION"))]));
    Ok(Outcome::Done)
}

fn classes(args: &Args, context: &Context) -> Result<Vec<String>> {
    if let Some(input) = &args.classes_from {
        let dataset = Dataset::open_with(&[input], &context.cancel)?;
        let label = dataset.label_column(args.label.as_deref())?;
        return label.class_names().map(<[String]>::to_vec).ok_or_else(|| {
            Error::data(input, format!("its column \"{}\" names no classes; give them with --classes", label.name()))
        });
    }
    // One of the two is there: clap asked for it.
    let given = args.classes.as_deref().unwrap_or_default();
    let text = match given.strip_prefix('@') {
        Some(file) => text::read(file)?,
        None => given.replace(',', "\n"),
    };
    Ok(text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}
