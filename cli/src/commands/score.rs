//! `dismax score`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
#[cfg(feature = "cluster")]
use std::sync::Arc;

use clap::ValueEnum;
use dismax::dataset::{Dataset, WriteOptions};
use dismax::model::Model;
#[cfg(feature = "cluster")]
use dismax::run::Run;
use dismax::score_file::{ErrorLimit, OnError, ScoreOptions, ScoreSummary, retry_failed, score_to, score_to_parts};
use dismax::stage::Stage;
use dismax::{Error, Result};

#[cfg(feature = "cluster")]
use crate::args::OnBadFileArg;
use crate::args::{ImageArgs, InputArgs, StageArgs, listing, share};
#[cfg(feature = "cluster")]
use crate::cluster::{ClusterArgs, check};
use crate::context::Context;
use crate::exit::Outcome;
use crate::{text, ui};

pub const EXAMPLES: &str = "\
Examples:
  dismax score new.parquet --model model --out scored.parquet
  # A folder of files; failed rows go to a file of their own, and the run stops if more than 1 % fail
  dismax score images/ --model model --out scored.parquet --errors failed.parquet --max-errors 1%
  # A folder of photographs into a folder of parts: run it again after an interruption or with new photographs
  dismax score photos/ --model model --out scored/
  dismax score 's3://bucket/photos/*.parquet' --model model --out s3://bucket/scored/
  # In the middle of a pipe, as Arrow IPC streams
  export-rows | dismax score - --model model --out - | load-rows

The output has all rows in their order, with all their columns and these new ones:
  prediction     name of the most probable class
  confidence     its calibrated probability
  probabilities  calibrated probability of every class, in the model's order
  ood_score      higher is more unlike the training images
  ood_p_value    share of held-out training images that look at least as strange; small means unknown
  is_ood         whether ood_p_value is at most alpha
  prediction_set with --prediction-set: the classes that the row may have
  error          why a row could not be scored (`code` or `code: detail`); the other new columns are then null

The extension decides the format: .parquet, .arrow or .feather (IPC file), .arrows (IPC stream). The file appears when it
is complete; an interrupted run leaves no file. A folder gets one .parquet for each input, each when it is complete, and
_dismax.json, which says what they were made of: the next run scores only what is missing or changed.";

/// What happens to rows that cannot be scored.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnErrorArg {
    /// Keep them, with nulls and a reason.
    Null,
    /// Stop at the first and write nothing.
    Fail,
}

/// Flags of `dismax score`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images to score: files, folders, addresses, patterns, or - for standard input.
    #[arg(required_unless_present = "retry_failed", value_name = "INPUT")]
    inputs: Vec<String>,

    /// The model's folder.
    #[arg(long)]
    model: PathBuf,

    /// The file to write, a folder (with `/` at its end) for one part per input, or - for an Arrow IPC stream on
    /// standard output.
    #[arg(long, value_name = "OUTPUT", required_unless_present = "retry_failed")]
    out: Option<String>,

    /// Replace files that exist; start over in a folder of parts.
    #[arg(long)]
    force: bool,

    /// Put this in front of the new columns' names, for inputs that have such columns already.
    #[arg(long, value_name = "P", default_value = "")]
    prefix: String,

    /// Override the model's alpha (accepted share of false alarms).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    alpha: Option<f64>,

    /// Append `prediction_set`: the classes that a row may have. Of the rows of each class at most this share lacks it.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    prediction_set: Option<f64>,

    /// Print the summary as JSON to standard output (to standard error with --out -).
    #[arg(long)]
    json: bool,

    /// What happens to rows that cannot be scored, such as broken images.
    #[arg(long, value_enum, default_value_t = OnErrorArg::Null, help_heading = "Failed rows")]
    on_error: OnErrorArg,

    /// Stop with exit code 4 and write nothing if more rows fail: a number, or a share such as 1.5%.
    ///
    /// A share is checked from 1,000 rows on and at the end. Of a folder of parts all rows count, also those that
    /// earlier runs wrote, and parts that are complete stay.
    #[arg(long, value_name = "N|P%", help_heading = "Failed rows")]
    max_errors: Option<ErrorLimit>,

    /// Write the failed rows to this file as well: the input's columns and `error`.
    #[arg(long, value_name = "FILE", help_heading = "Failed rows")]
    errors: Option<String>,

    /// Score the failed rows of this output again, a file or a folder of parts, in their places.
    #[arg(long, value_name = "OUTPUT", conflicts_with_all = ["inputs", "out", "errors", "on_error", "max_errors"], help_heading = "Failed rows")]
    retry_failed: Option<String>,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    images: ImageArgs,

    #[command(flatten)]
    stage: StageArgs,

    #[cfg(feature = "cluster")]
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let out = args.out.as_deref().unwrap_or_default();
    let to_stdout = out == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Error::Config(
            "--out - writes bytes that no terminal can show; pipe them to a program, or name a file".into(),
        ));
    }
    if args.errors.as_deref() == Some("-") {
        return Err(Error::Config("--errors - is not possible; name a file for the failed rows".into()));
    }
    let into_folder = is_folder(out);
    if into_folder && args.errors.is_some() {
        return Err(Error::Config(
            "--errors is not possible with a folder: the parts keep failed rows, and --retry-failed tries them again"
                .into(),
        ));
    }
    let model = Model::read(&args.model)?;
    model.require_calibration()?;
    let options = ScoreOptions {
        prefix: args.prefix.clone(),
        alpha: args.alpha,
        prediction_set: args.prediction_set,
        on_error: match args.on_error {
            OnErrorArg::Null => OnError::Null,
            OnErrorArg::Fail => OnError::Fail,
        },
        max_errors: args.max_errors,
        errors_to: args.errors.clone(),
        write: WriteOptions { overwrite: args.force, ..WriteOptions::default() },
    };
    let summary = if let Some(output) = &args.retry_failed {
        #[cfg(feature = "cluster")]
        if args.cluster.is_given() {
            return Err(Error::Config(
                "--retry-failed works on this machine alone: leave --cluster out, or set DISMAX_CLUSTER= to nothing"
                    .into(),
            ));
        }
        let stage = Stage::try_new(model, &args.stage.options(&args.images))?;
        context.watch(|run| retry_failed(&stage, output, &options, run))?
    } else {
        let dataset = Dataset::open_with(&args.inputs, args.input.options(&context.cancel))?;
        #[cfg(feature = "cluster")]
        if args.cluster.is_given() {
            let summary = on_cluster(args, &model, &dataset, &options, context)?;
            return report(args, &summary, context);
        }
        let stage = Stage::try_new(model, &args.stage.options(&args.images))?;
        context.watch(|run| match into_folder {
            true => score_to_parts(&stage, &dataset, out, &options, run),
            false => score_to(&stage, &dataset, out, &options, run),
        })?
    };
    report(args, &summary, context)
}

/// Has workers score the rows: a folder is theirs to write, a file is written here.
#[cfg(feature = "cluster")]
fn on_cluster(
    args: &Args,
    model: &Model,
    dataset: &Dataset,
    options: &ScoreOptions,
    context: &Context,
) -> Result<ScoreSummary> {
    let out = args.out.as_deref().unwrap_or_default();
    let name = args.model.display().to_string();
    if !is_folder(out) {
        let (scanner, _runtime) =
            args.cluster.scanner((&name, Arc::new(model.clone())), &args.input, &args.images, &context.cancel)?;
        return context.watch(|run| score_to(&scanner, dataset, out, options, run));
    }
    check(&InputArgs { on_bad_file: OnBadFileArg::Fail }, &args.images)?;
    let runtime = crate::runtime()?;
    let cluster = args.cluster.connect(&runtime)?.expect("there are addresses");
    let load = (args.images.column(), args.images.load());
    let score = |run: &mut Run<'_>| {
        let run = dismax_cluster::score_to_parts(&cluster, (&name, model), dataset, out, load, options, run);
        Ok(runtime.block_on(run)?)
    };
    context.watch(score)
}

fn report(args: &Args, summary: &ScoreSummary, context: &Context) -> Result<Outcome> {
    let to_stdout = args.out.as_deref() == Some("-");
    context.ui.note(describe(summary));
    match args.json {
        false => {}
        // Not subject to --quiet: it was asked for.
        true if to_stdout => ui::print_to_stderr(&ui::json(summary)?)?,
        true => ui::print(&ui::json(summary)?)?,
    }
    if summary.rows > 0 && summary.scored == 0 {
        context.ui.incomplete("no row could be scored; the column `error` says why");
        return Ok(Outcome::Incomplete);
    }
    Ok(Outcome::Done)
}

/// Whether an output is a folder of parts.
fn is_folder(out: &str) -> bool {
    out.ends_with('/') || Path::new(out).is_dir()
}

fn describe(summary: &ScoreSummary) -> String {
    let mut lines = vec![(
        "scored",
        format!(
            "{} of {} in {} ({} images/s)",
            text::count(summary.scored),
            text::rows(summary.rows),
            text::duration(summary.seconds),
            text::rate(summary.images_per_second)
        ),
    )];
    if summary.rows == 0 && summary.parts.is_some_and(|parts| parts.written == 0 && parts.kept > 0) {
        // Everything is there already; the line about parts says so.
        lines.clear();
    }
    if let Some(share) = summary.flagged_share {
        let flagged = text::count(summary.flagged);
        let alpha = text::percent(summary.alpha);
        lines.push(("flagged", format!("{flagged}, {} (of ordinary images, {alpha} would be)", text::percent(share))));
    }
    if let Some(share) = summary.device_busy_share {
        lines.push(("device", format!("busy {} of the time", text::percent(share))));
    }
    if summary.failed > 0 {
        let by_code = summary.errors.iter().map(|(code, count)| format!("{} {code}", text::count(*count)));
        let aside = summary.errors_output.as_ref().map(|file| format!("; copied to {file}")).unwrap_or_default();
        lines.push(("failed", format!("{} ({}){aside}", text::count(summary.failed), listing(by_code, 20))));
    }
    if let Some(parts) = &summary.parts {
        let removed = if parts.removed > 0 { format!(", {} removed", parts.removed) } else { String::new() };
        let (written, kept, rows) = (parts.written, parts.kept, text::rows(parts.rows));
        lines.push(("parts", format!("{written} written, {kept} whole already{removed}; {rows} in all")));
    }
    if !summary.bad_files.is_empty() {
        let files = listing(summary.bad_files.keys(), 5);
        lines.push(("left out", format!("{} damaged files: {files}", summary.bad_files.len())));
    }
    let output = if summary.output == "-" { "standard output" } else { &summary.output };
    lines.push(("output", output.to_owned()));
    text::list(&lines)
}
