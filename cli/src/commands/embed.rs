//! `dismax embed`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use dismax::dataset::{Dataset, WriteOptions};
use dismax::embed_file::{EmbedOptions, EmbedSummary, embed_to};
use dismax::model::Model;
use dismax::stage::Stage;
use dismax::{Error, Result};

use crate::args::{ImageArgs, InputArgs, StageArgs, listing};
use crate::context::Context;
use crate::exit::Outcome;
use crate::{text, ui};

pub const EXAMPLES: &str = "\
Examples:
  dismax embed photos/ --model model --out embeddings.parquet
  # With a network that others trained, without a head of its own
  dismax import resnet50.safetensors --arch resnet50 --loss softmax --classes @imagenet.txt --out resnet50
  dismax embed photos.parquet --model resnet50 --out embeddings.parquet
  dismax train embeddings.parquet --embedding embedding --label label --out head

The output has all rows in their order with their columns but for the images, and two new ones:
  embedding      what the network's last stage gives, a fixed-size list of f32
  error          why there is none (`code` or `code: detail`)";

/// Flags of `dismax embed`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images: files, folders, addresses, patterns, or - for standard input.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    /// The model's folder. It need not be calibrated.
    #[arg(long)]
    model: PathBuf,

    /// The file to write, or - for an Arrow IPC stream on standard output.
    #[arg(long, value_name = "OUTPUT")]
    out: String,

    /// Replace a file that exists.
    #[arg(long)]
    force: bool,

    /// Put this in front of the new columns' names, for inputs that have such columns already.
    #[arg(long, value_name = "P", default_value = "")]
    prefix: String,

    /// Keep the images beside their embeddings.
    #[arg(long)]
    keep_images: bool,

    /// Print the summary as JSON to standard output (to standard error with --out -).
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    images: ImageArgs,

    #[command(flatten)]
    stage: StageArgs,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let to_stdout = args.out == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Error::Config(
            "--out - writes bytes that no terminal can show; pipe them to a program, or name a file".into(),
        ));
    }
    let dataset = Dataset::open_with(&args.inputs, args.input.options(&context.cancel))?;
    let stage = Stage::try_new(Model::read(&args.model)?, &args.stage.options(&args.images))?;
    let options = EmbedOptions {
        prefix: args.prefix.clone(),
        keep_images: args.keep_images,
        write: WriteOptions { overwrite: args.force, ..WriteOptions::default() },
    };
    let summary = context.watch_as("embedding", |run| embed_to(&stage, &dataset, &args.out, &options, run))?;
    context.ui.note(describe(&summary));
    match args.json {
        false => {}
        true if to_stdout => ui::print_to_stderr(&ui::json(&summary)?)?,
        true => ui::print(&ui::json(&summary)?)?,
    }
    if summary.rows > 0 && summary.embedded == 0 {
        context.ui.incomplete("no row could be embedded; the column `error` says why");
        return Ok(Outcome::Incomplete);
    }
    Ok(Outcome::Done)
}

fn describe(summary: &EmbedSummary) -> String {
    let mut lines = vec![(
        "embedded",
        format!(
            "{} of {} in {} ({} images/s), {} numbers each",
            text::count(summary.embedded),
            text::rows(summary.rows),
            text::duration(summary.seconds),
            text::rate(summary.images_per_second),
            summary.dimensions
        ),
    )];
    if summary.failed > 0 {
        let by_code = summary.errors.iter().map(|(code, count)| format!("{} {code}", text::count(*count)));
        lines.push(("failed", format!("{} ({})", text::count(summary.failed), listing(by_code, 20))));
    }
    if !summary.bad_files.is_empty() {
        let files = listing(summary.bad_files.keys(), 5);
        lines.push(("left out", format!("{} damaged files: {files}", summary.bad_files.len())));
    }
    let output = if summary.output == "-" { "standard output" } else { &summary.output };
    lines.push(("output", output.to_owned()));
    text::list(&lines)
}
