//! `dismax audit`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dismax::dataset::Dataset;
use dismax::model::Model;
use dismax::stage::Stage;
use dismax::{Error, Result};
use dismax_audit::{AuditInputs, AuditOptions, AuditSummary, Comparison, Kind, Severity, audit, compare};

use crate::args::{ImageArgs, InputArgs, LabelArgs, StageArgs, listing, share};
#[cfg(feature = "cluster")]
use crate::cluster::ClusterArgs;
use crate::context::Context;
use crate::exit::Outcome;
use crate::report::estimate;
use crate::{text, ui};

pub const EXAMPLES: &str = "\
Examples:
  dismax audit photos/ --model model --out audit
  # Labels, groups by camera and by day, and leaks from the training images
  dismax audit test.parquet --model model --out audit --label label --group-by camera --time taken --reference train.parquet
  # What a cleaned dataset has changed
  dismax audit --compare audit audit-cleaned --out changes

Every image is looked at once. The folder then has three files:
  report.html       to look at: one page that needs no other file and no network
  findings.parquet  one row per finding: file, row, kind, severity, score, evidence and more
  summary.json      the figures

Kinds of findings: unknown, label_issue, unseen_label, undecodable, truncated, empty, mislabelled_format, extreme_size,
extreme_aspect, near_black, near_white, near_uniform, blurred, grey, exact_duplicate, near_duplicate, leaked, leaked_near.
`dismax sql` reads findings.parquet; its columns file and row join it to the data.";

/// Flags of `dismax audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images to audit: Parquet, Arrow or tar files, folders of these or of images, addresses, patterns, or - for
    /// an Arrow IPC stream or a tar file on standard input.
    #[arg(required_unless_present = "compare", conflicts_with = "compare", value_name = "INPUT")]
    inputs: Vec<String>,

    /// The model's folder.
    #[arg(long, required_unless_present = "compare", conflicts_with = "compare")]
    model: Option<PathBuf>,

    /// The folder to write. It appears when the audit is complete.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,

    /// Replace an existing audit at --out.
    #[arg(long)]
    force: bool,

    /// Compare two audits instead: the older folder and the newer.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    compare: Option<Vec<PathBuf>>,

    /// Reference images: report drift of scores, confidences and classes, and images that are in both.
    ///
    /// Without a reference, scores are compared with those of the calibration rows.
    #[arg(long, num_args = 1.., value_name = "DATASET", conflicts_with = "compare")]
    reference: Vec<String>,

    /// Columns to group rows by, such as a camera, a source or an annotator.
    #[arg(long, num_args = 1.., value_name = "COLUMN", conflicts_with = "compare")]
    group_by: Vec<String>,

    /// Column of dates or timestamps; rows are grouped by day.
    #[arg(long, value_name = "COLUMN", conflicts_with = "compare")]
    time: Option<String>,

    /// Accepted false discovery rate among unknown images, calibration gaps, drift tests and slices.
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = AuditOptions::default().fdr)]
    fdr: f64,

    /// Maximum number of thumbnails per kind of finding in the report.
    #[arg(long, value_name = "N", default_value_t = AuditOptions::default().top)]
    top: usize,

    /// Print the summary as JSON to standard output.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    images: ImageArgs,

    #[command(flatten)]
    labels: LabelArgs,

    #[command(flatten)]
    stage: StageArgs,

    #[cfg(feature = "cluster")]
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The audit of images that workers score, where workers are to do it.
#[cfg(feature = "cluster")]
fn on_workers(
    args: &Args,
    model: &Arc<Model>,
    inputs: &AuditInputs<'_>,
    options: &AuditOptions,
    context: &Context,
) -> Option<Result<AuditSummary>> {
    args.cluster.is_given().then(|| {
        let name = model.path().display().to_string();
        let (scanner, _runtime) =
            args.cluster.scanner((&name, Arc::clone(model)), &args.input, &args.images, &context.cancel)?;
        context.watch(|run| audit(&scanner, inputs, &args.out, options, run))
    })
}

#[cfg(not(feature = "cluster"))]
fn on_workers(
    _: &Args,
    _: &Arc<Model>,
    _: &AuditInputs<'_>,
    _: &AuditOptions,
    _: &Context,
) -> Option<Result<AuditSummary>> {
    None
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    if let Some([old, new]) = args.compare.as_deref() {
        let comparison = compare(old, new, &args.out, args.force, &command(&context.words), &context.cancel)?;
        context.ui.note(describe_changes(&comparison, &args.out));
        if args.json {
            ui::print(&ui::json(&comparison)?)?;
        }
        return Ok(Outcome::Done);
    }
    // Without --compare clap asks for a model.
    let model =
        args.model.as_ref().ok_or_else(|| Error::Config("--model is missing; give the model's folder".into()))?;
    let model = Arc::new(Model::read(model)?);
    model.require_calibration()?;
    let dataset = Dataset::open_with(&args.inputs, args.input.options(&context.cancel))?;
    let reference = match args.reference.as_slice() {
        [] => None,
        files => Some(Dataset::open_with(files, args.input.options(&context.cancel))?),
    };
    let options = AuditOptions {
        label: args.labels.label.clone(),
        group_by: args.group_by.clone(),
        time: args.time.clone(),
        fdr: args.fdr,
        top: args.top,
        force: args.force,
        command: command(&context.words),
    };
    let inputs = AuditInputs { dataset: &dataset, reference: reference.as_ref() };
    let summary = on_workers(args, &model, &inputs, &options, context).unwrap_or_else(|| {
        let stage = Stage::try_new(Arc::clone(&model), &args.stage.options(&args.images))?;
        context.watch(|run| audit(&stage, &inputs, &args.out, &options, run))
    })?;
    summary.warnings.iter().for_each(|warning| context.ui.warn(warning));
    context.ui.note(describe(&summary, &args.out));
    if args.json {
        ui::print(&ui::json(&summary)?)?;
    }
    if summary.rows > 0 && summary.scored == 0 {
        context.ui.incomplete("no row could be scored; the report says why");
        return Ok(Outcome::Incomplete);
    }
    Ok(Outcome::Done)
}

/// The command as it was typed, quoted for a shell where need be.
fn command(words: &[OsString]) -> String {
    let quote = |argument: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,%+@".contains(c);
        match !argument.is_empty() && argument.chars().all(plain) {
            true => argument,
            false => format!("'{}'", argument.replace('\'', r"'\''")),
        }
    };
    let arguments = words.iter().map(|argument| quote(argument.to_string_lossy().into_owned()));
    ["dismax".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

fn describe(summary: &AuditSummary, out: &Path) -> String {
    let high = summary.severities.get(&Severity::High).copied().unwrap_or(0);
    let mut lines = vec![
        ("audited", format!("{} in {}", text::rows(summary.rows), text::duration(summary.seconds))),
        (
            "findings",
            format!(
                "{} in {}, {} of them serious",
                text::count(summary.findings),
                text::rows(summary.rows_with_findings),
                text::count(high)
            ),
        ),
    ];
    let found = Kind::ALL.into_iter().map(|kind| (kind, summary.of(kind))).filter(|(_, count)| *count > 0);
    let found: Vec<String> = found.map(|(kind, count)| format!("{} {kind}", text::count(count))).collect();
    if !found.is_empty() {
        lines.push(("kinds", listing(&found, Kind::ALL.len())));
    }
    if let Some(share) = summary.unknown.as_ref().and_then(|unknown| unknown.out_of_distribution.as_ref()) {
        lines.push(("unknown", format!("{} of the rows by estimate", estimate(share, text::percent))));
    }
    if let (Some(labels), Some(calibration)) = (&summary.labels, &summary.calibration) {
        let wrong = labels.estimated_wrong / labels.rows.max(1) as f64;
        lines.push(("labels", format!("{} wrong by estimate", text::percent(wrong))));
        lines.push(("ECE", estimate(&calibration.ece, |ece| format!("{ece:.4}"))));
    }
    lines.push(("report", out.join("report.html").display().to_string()));
    text::list(&lines)
}

fn describe_changes(comparison: &Comparison, out: &Path) -> String {
    let changes = |of: fn(&dismax_audit::KindChange) -> u64| {
        let changed = comparison.kinds.iter().filter(|change| of(change) > 0);
        let changed: Vec<String> =
            changed.map(|change| format!("{} {}", text::count(of(change)), change.kind)).collect();
        if changed.is_empty() { "none".to_owned() } else { listing(&changed, Kind::ALL.len()) }
    };
    text::list(&[
        ("rows", format!("{} before, {} after", text::count(comparison.old_rows), text::count(comparison.new_rows))),
        ("new", changes(|change| change.appeared)),
        ("gone", changes(|change| change.gone)),
        ("report", out.join("report.html").display().to_string()),
    ])
}
