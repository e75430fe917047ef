//! `dismax export`.

use std::path::PathBuf;

use dismax::Result;
use dismax::model::Model;
use dismax_export::export_onnx;

use crate::context::Context;
use crate::exit::Outcome;

pub const EXAMPLES: &str = "\
Examples:
  dismax export model --onnx model.onnx

The file holds what `dismax score` computes, in single precision: from pixels (u8 [rows, height, width, 3]) or embeddings (f32
[rows, dimensions]) to logits, probabilities, prediction (the class's number), confidence, ood_score, ood_p_value and is_ood. Images
are decoded and resized outside; the file's metadata has the classes, and under dismax.preprocessing how images are resized.";

/// Flags of `dismax export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model's folder. It must be calibrated.
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// The ONNX file to write.
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,

    /// Replace a file that exists.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    export_onnx(&Model::read(&args.model)?, &args.onnx, args.force)?;
    context.ui.note(format!("wrote {}", args.onnx.display()));
    Ok(Outcome::Done)
}
