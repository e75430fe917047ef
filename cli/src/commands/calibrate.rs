//! `dismax calibrate`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dismax::Result;
use dismax::calibration::{CalibrationOptions, CalibrationScores};
use dismax::dataset::{Dataset, require_common_class};
use dismax::evaluate::{DatasetLogits, training_features, unknown_examples};
use dismax::model::Model;
use dismax::stage::Stage;
use serde::Serialize;

use crate::args::{CalibrationArgs, ImageArgs, InputArgs, LabelArgs, StageArgs, listing, reasons};
use crate::context::Context;
use crate::exit::Outcome;
use crate::report::{CalibrationReport, unknown_line};
use crate::{text, ui};

pub const EXAMPLES: &str = "\
Examples:
  # Images kept out of the training, of the same kind as those to be scored
  dismax calibrate model --data validation.parquet
  # Another score, chosen with `dismax evaluate`, and fewer false alarms
  dismax calibrate model --data validation.parquet --score mps --alpha 0.01
  # With what its training images had in common, for an imported model
  dismax calibrate model --data validation.parquet --training train.parquet --score mds+early
  # With examples of images that it should not know, to find more of their kinds
  dismax calibrate model --data validation.parquet --unknown odd.parquet --score mds+early+unknown
  # Scores that are averages over image and mirror image: more accurate, half as fast
  dismax calibrate model --data validation.parquet --tta flip --training train.parquet
  # Keep the old bundle
  dismax calibrate model --data validation.parquet --out model-2

Training already calibrates, on the rows it held out. Calibrate again for other data, another score or another alpha. Never
use training images, on which the model is overconfident, or test images: results on a test set that was fitted to mean nothing.";

/// Flags of `dismax calibrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model's folder. It is replaced, whole or not at all, unless --out names another.
    model: PathBuf,

    /// Labelled images that were not trained on: files, folders, patterns.
    #[arg(long, required = true, num_args = 1.., value_name = "VALIDATION")]
    data: Vec<String>,

    /// The images that the model was trained on: makes the score mds+early possible, and lets audits find more unknown
    /// images. `dismax train` keeps what is needed of them by itself.
    #[arg(long, num_args = 1.., value_name = "TRAINING")]
    training: Vec<String>,

    /// Examples of unknown images: makes the scores mds+unknown and mds+early+unknown possible, and lets every audit
    /// with this model find more of their kinds. They take the place of earlier examples. From 20 images of a kind on
    /// they help.
    #[arg(long, num_args = 1.., value_name = "EXAMPLES")]
    unknown: Vec<String>,

    /// Forget the examples of unknown images that the model keeps.
    #[arg(long, conflicts_with = "unknown")]
    no_unknown: bool,

    /// Write the calibrated model here and leave MODEL as it is.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,

    /// Replace a model that is at --out already.
    #[arg(long, requires = "out")]
    force: bool,

    /// Print the result as JSON to standard output.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    calibration: CalibrationArgs,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    images: ImageArgs,

    #[command(flatten)]
    labels: LabelArgs,

    #[command(flatten)]
    stage: StageArgs,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    model: &'a str,
    model_digest: &'a str,
    /// Rows that could not be used: no label or no usable image, or kept as examples of unknown images.
    left_out: u64,
    /// Examples of unknown images that the model keeps.
    unknown_examples: u64,
    /// Damaged files, with the reason of each.
    bad_files: BTreeMap<String, String>,
    #[serde(flatten)]
    calibration: Option<CalibrationReport>,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let target = args.out.as_ref().unwrap_or(&args.model);
    Model::check_place(target, args.out.is_none() || args.force)?;
    let mut model = Model::read(&args.model)?;
    let options = args.calibration.options(options_of(&model));
    let dataset = Dataset::open_with(&args.data, args.input.options(&context.cancel))?;
    dataset.require_distinct_files()?;
    let label = dataset.label_column(args.labels.label.as_deref())?;
    require_common_class(&label, model.classes())?;
    let knew_features = model.feature_statistics().is_some();
    model.set_tta(options.tta)?;
    if knew_features && model.feature_statistics().is_none() && args.training.is_empty() {
        context.ui.warn(
            "what the model kept of its training images and of unknown images came from other averages and is left out; \
             --training TRAINING and --unknown EXAMPLES read it again",
        );
    }
    if !args.unknown.is_empty() && args.training.is_empty() {
        model.require_feature_statistics("a comparison with examples of unknown images")?;
    }
    let stage = Stage::try_new(model.clone(), &args.stage.options(&args.images))?;

    if !args.training.is_empty() {
        let training = Dataset::open_with(&args.training, args.input.options(&context.cancel))?;
        training.require_distinct_files()?;
        let statistics = context.watch_as("reading features", |run| training_features(&stage, &training, run))?;
        model.set_feature_statistics(statistics)?;
    }
    if !args.unknown.is_empty() {
        let unknown = Dataset::open_with(&args.unknown, args.input.options(&context.cancel))?;
        unknown.require_distinct_files()?;
        let examples = context.watch_as("scoring unknown images", |run| unknown_examples(&stage, &unknown, run))?;
        model.set_unknown_examples(Some(examples))?;
    } else if args.no_unknown && model.unknown_examples() > 0 {
        model.set_unknown_examples(None)?;
    }
    // What a score lacks must not be found out after all rows have been scored.
    model.feature_score(options.score)?;
    let statistics = model.feature_statistics().cloned();
    let collected = context.watch_as("scoring", |run| {
        DatasetLogits::read_held_out(&stage, &dataset, &label, statistics.as_deref(), run)
    })?;
    let rows = collected.labelled()?;
    let left_out = collected.rows() - rows.rows() as u64;
    if left_out > 0 {
        let reasons = collected.errors().iter().map(|(code, count)| format!("{count} {}", code.as_str()));
        let unlabelled =
            Some(collected.unlabelled()).filter(|&count| count > 0).map(|count| format!("{count} unlabelled"));
        let examples = Some(collected.examples()).filter(|&count| count > 0);
        let examples = examples.map(|count| format!("{count} examples of unknown images"));
        let reasons = listing(reasons.chain(unlabelled).chain(examples), 10);
        context.ui.warn(format!("{} left out: {reasons}", text::rows(left_out)));
    }
    let bad_files = reasons(&dataset.bad_files());
    let source = listing(dataset.files().filter(|file| !bad_files.contains_key(*file)), 10);
    model.calibrate(&rows, collected.held_out_features(options.score), &options, &source)?;
    context.cancel.check()?;
    model.write(target, args.out.is_none() || args.force)?;

    let name = target.display().to_string();
    let report = CalibrationReport::of(&model);
    report.iter().flat_map(CalibrationReport::warnings).for_each(|warning| context.ui.warn(warning));
    let mut lines = vec![("model", name.clone())];
    lines.extend(report.iter().flat_map(CalibrationReport::lines));
    lines.extend(unknown_line(&model));
    lines.push(("next", format!("dismax evaluate --model {name} --id TEST --ood OTHER")));
    context.ui.note(text::list(&lines));
    if args.json {
        let digest = model.digest();
        ui::print(&ui::json(&Summary {
            model: &name,
            model_digest: digest,
            left_out,
            unknown_examples: model.unknown_examples(),
            bad_files,
            calibration: report,
        })?)?;
    }
    Ok(Outcome::Done)
}

/// The choices that the model was calibrated with, so that a new run changes only what it names.
fn options_of(model: &Model) -> CalibrationOptions {
    let mut options = CalibrationOptions::default();
    if let Some(calibration) = model.calibration() {
        options.alpha = calibration.alpha;
        options.score = calibration.score;
        options.tta = calibration.tta;
        options.per_class = matches!(calibration.scores, CalibrationScores::PerClass(_));
        options.search.objective = calibration.fit.objective;
    }
    options
}
