//! `dismax filter`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use dismax::dataset::{Dataset, WriteOptions};
use dismax::filter::{FilterOptions, FilterSummary, Flag, Keep, RowPredicate, filter_to};
use dismax::model::Model;
use dismax::run::{Progress, Run};
use dismax::stage::Stage;
use dismax::{Error, Result};
use serde::Serialize;

use crate::args::{ImageArgs, InputArgs, StageArgs, reasons, share};
#[cfg(feature = "cluster")]
use crate::cluster::ClusterArgs;
use crate::context::Context;
use crate::exit::Outcome;
use crate::{text, ui};

pub const EXAMPLES: &str = "\
Examples:
  # What the model knows, and the rest aside
  dismax filter photos/ --model model --keep in-dist --out known.parquet --rejected unknown.parquet
  # Unknown images, so that about 1 in 20 of the kept is a false alarm
  dismax filter photos/ --model model --keep ood --fdr 0.05 --out unknown.parquet --columns
  # Cats that the model is sure of; predicates on the input's columns alone are evaluated before scoring
  dismax filter photos/ --model model --keep in-dist --where \"prediction = 'cat' AND confidence > 0.9\" --out cats.parquet
  # Broken images
  dismax filter photos/ --model model --keep errors --out broken.parquet --columns

Rows keep their order and columns. Kept and rejected rows together are the input.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KeepArg {
    /// Rows that were scored and not flagged.
    InDist,
    /// Rows that were scored and flagged.
    Ood,
    /// Rows that could not be scored.
    Errors,
}

/// Flags of `dismax filter`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images to filter: Parquet, Arrow or tar files, folders of these or of images, addresses, patterns, or - for
    /// an Arrow IPC stream or a tar file on standard input.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    /// The model's folder.
    #[arg(long)]
    model: PathBuf,

    /// The file for the kept rows, or - for an Arrow IPC stream on standard output.
    #[arg(long, value_name = "OUTPUT")]
    out: String,

    /// Which rows to keep.
    #[arg(long, value_enum)]
    keep: KeepArg,

    /// Override the model's alpha (accepted share of false alarms).
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "fdr")]
    alpha: Option<f64>,

    /// Control the false discovery rate over all rows (Benjamini-Hochberg): on average at most this share of the
    /// flagged rows are false alarms.
    ///
    /// Reads the input twice, decodes each image once.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    fdr: Option<f64>,

    /// Keep only rows for which this is true: SQL on the input's columns and the scored ones.
    #[arg(long = "where", value_name = "PREDICATE")]
    predicate: Option<String>,

    /// Write all other rows to this file.
    #[arg(long, value_name = "FILE")]
    rejected: Option<String>,

    /// Append the scored columns to the written rows.
    #[arg(long)]
    columns: bool,

    /// Have the scored column `prediction_set` too: the classes that a row may have. Of the rows of each class at most
    /// this share lacks it.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    prediction_set: Option<f64>,

    /// Prefix for the names of the scored columns, for inputs that already have columns of these names.
    #[arg(long, value_name = "P", default_value = "")]
    prefix: String,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print the summary as JSON to standard output (to standard error with --out -).
    #[arg(long)]
    json: bool,

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

/// The summary for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    rows: u64,
    files_left_out: u64,
    kept: u64,
    scored: u64,
    failed: u64,
    flagged: u64,
    p_value_threshold: Option<f64>,
    seconds: f64,
    /// Damaged files of which rows are left out, with the reason of each.
    bad_files: BTreeMap<String, String>,
    output: &'a str,
    rejected_output: Option<&'a str>,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let to_stdout = args.out == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Error::Config("--out - writes bytes no terminal can show; pipe them on, or name a file".into()));
    }
    if args.rejected.as_deref() == Some("-") {
        return Err(Error::Config("--rejected - is not possible; name a file for the rejected rows".into()));
    }
    let model = Arc::new(Model::read(&args.model)?);
    model.require_calibration()?;
    let dataset = Dataset::open_with(&args.inputs, args.input.options(&context.cancel))?;
    let keep = match args.keep {
        KeepArg::InDist => Keep::InDist,
        KeepArg::Ood => Keep::Ood,
        KeepArg::Errors => Keep::Errors,
    };
    let options = FilterOptions {
        flag: args.fdr.map_or(Flag::Alpha(args.alpha), Flag::Fdr),
        predicate: args.predicate.as_deref().map(|sql| predicate(sql, &model, &dataset, args)).transpose()?,
        rejected: args.rejected.clone(),
        columns: args.columns,
        prediction_set: args.prediction_set,
        prefix: args.prefix.clone(),
        write: WriteOptions { overwrite: args.force, ..WriteOptions::default() },
        ..FilterOptions::new(keep)
    };
    let phase = context.ui.phase("filtering");
    let mut progress = |progress: Progress| phase.update(progress.rows, progress.of);
    let mut run = Run { cancel: context.cancel.clone(), progress: &mut progress };
    let summary = on_workers(args, &model, &dataset, &options, &mut run).unwrap_or_else(|| {
        let stage = Stage::try_new(Arc::clone(&model), &args.stage.options(&args.images))?;
        filter_to(&stage, &dataset, &args.out, &options, &mut run)
    });
    phase.clear();
    let summary = summary?;
    context.ui.note(describe(&summary, args));
    let report = Report {
        rows: summary.rows,
        files_left_out: summary.files_left_out,
        kept: summary.kept,
        scored: summary.scored,
        failed: summary.failed,
        flagged: summary.flagged,
        p_value_threshold: summary.threshold,
        seconds: summary.seconds,
        bad_files: reasons(&dataset.bad_files()),
        output: &args.out,
        rejected_output: args.rejected.as_deref(),
    };
    match args.json {
        false => {}
        true if to_stdout => ui::print_to_stderr(&ui::json(&report)?)?,
        true => ui::print(&ui::json(&report)?)?,
    }
    Ok(Outcome::Done)
}

/// The filter of images that workers score, where workers are to do it.
#[cfg(feature = "cluster")]
fn on_workers(
    args: &Args,
    model: &Arc<Model>,
    dataset: &Dataset,
    options: &FilterOptions,
    run: &mut Run<'_>,
) -> Option<Result<FilterSummary>> {
    args.cluster.is_given().then(|| {
        let name = args.model.display().to_string();
        let (scanner, _runtime) =
            args.cluster.scanner((&name, Arc::clone(model)), &args.input, &args.images, &run.cancel)?;
        filter_to(&scanner, dataset, &args.out, options, run)
    })
}

#[cfg(not(feature = "cluster"))]
fn on_workers(
    _: &Args,
    _: &Arc<Model>,
    _: &Dataset,
    _: &FilterOptions,
    _: &mut Run<'_>,
) -> Option<Result<FilterSummary>> {
    None
}

#[cfg(feature = "sql")]
fn predicate(sql: &str, model: &Arc<Model>, dataset: &Dataset, args: &Args) -> Result<Arc<dyn RowPredicate>> {
    let columns = dismax::Columns::of_model(model, &args.prefix)?.with_alphas(None, args.prediction_set)?;
    let extended = columns.schema(dataset.schema())?;
    Ok(Arc::new(dismax_udfs::SqlPredicate::try_new(sql, dataset.schema(), &extended)?))
}

#[cfg(not(feature = "sql"))]
fn predicate(_: &str, _: &Arc<Model>, _: &Dataset, _: &Args) -> Result<Arc<dyn RowPredicate>> {
    Err(Error::Config("--where is SQL, which this build of dismax was made without (cargo feature `sql`)".into()))
}

fn describe(summary: &FilterSummary, args: &Args) -> String {
    let output = if args.out == "-" { "standard output" } else { &args.out };
    let share = |part: u64, of: u64| text::percent(part as f64 / of.max(1) as f64);
    let mut lines = vec![(
        "kept",
        format!(
            "{} of {}, {}: {output}",
            text::count(summary.kept),
            text::rows(summary.rows),
            share(summary.kept, summary.rows)
        ),
    )];
    if let Some(rejected) = &args.rejected {
        lines.push(("rejected", format!("{}: {rejected}", text::rows(summary.rows - summary.kept))));
    }
    if summary.files_left_out > 0 {
        lines.push(("not read", format!("{} files: --where is true for none of their rows", summary.files_left_out)));
    }
    let by = match (args.fdr, summary.threshold) {
        (Some(fdr), Some(threshold)) => {
            format!(" (false discovery rate {}: p-values to {threshold:.4})", text::percent(fdr))
        }
        (Some(fdr), None) => format!(" (false discovery rate {}: no p-value is small enough)", text::percent(fdr)),
        (None, _) => String::new(),
    };
    let flagged =
        format!("{}, {} of the scored{by}", text::count(summary.flagged), share(summary.flagged, summary.scored));
    lines.push(("flagged", flagged));
    if summary.failed > 0 {
        lines.push(("failed", text::count(summary.failed)));
    }
    let rate = summary.scored as f64 / summary.seconds.max(f64::MIN_POSITIVE);
    lines.push((
        "scored",
        format!(
            "{} in {} ({} images/s)",
            text::rows(summary.scored),
            text::duration(summary.seconds),
            text::rate(rate)
        ),
    ));
    text::list(&lines)
}
