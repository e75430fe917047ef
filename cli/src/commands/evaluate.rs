//! `dismax evaluate`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use dismax::dataset::{Dataset, LabelColumn};
use dismax::evaluate::{DatasetLogits, Evaluation, InDistFigures, OodFigures, set_names};
use dismax::metrics::OodMetrics;
use dismax::model::Model;
use dismax::score::Score;
use dismax::stage::Stage;
use dismax::{Error, Result};
use serde::Serialize;

use crate::args::{ImageArgs, InputArgs, LabelArgs, StageArgs, reasons};
use crate::context::Context;
use crate::exit::Outcome;
use crate::report::estimate;
use crate::{charts, text, ui};

pub const EXAMPLES: &str = "\
Examples:
  # Accuracy and calibration on test images that were neither trained nor calibrated on
  dismax evaluate --model model --id test.parquet
  # And how well images of other kinds are told apart, with pictures
  dismax evaluate --model model --id test.parquet --ood textures.parquet scans.parquet --charts charts

Scores (higher is more in-distribution): mps is the largest probability, es the negative entropy, mds the largest logit, mmls
that plus the mean logit, mmles that plus the negative entropy, mmleps that plus the largest probability, mds+early combines
mds with how usual the features of the early stages are, mds+unknown with how little an image is like the examples of unknown
images that the model keeps, mds+early+unknown with both. Such examples are left out of the figures. Which one detects best depends on the images; `dismax calibrate MODEL --data VALIDATION --score NAME` chooses it.
AUROC: the chance that a test image scores higher than an OOD image. FPR95: the share of OOD images that pass where 95 % of the
test images pass. AUPR takes test images (in) or OOD images (out) as positive.";

/// Flags of `dismax evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model's folder.
    #[arg(long)]
    model: PathBuf,

    /// Labelled test images of the model's classes: files, folders or patterns.
    #[arg(long, required = true, num_args = 1.., value_name = "TEST")]
    id: Vec<String>,

    /// Out-of-distribution images. Each file, folder or pattern is a separate set.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    ood: Vec<String>,

    /// Print everything as JSON to standard output.
    #[arg(long)]
    json: bool,

    /// Write a reliability diagram and score histograms as SVG into this folder.
    #[arg(long, value_name = "FOLDER")]
    charts: Option<PathBuf>,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    images: ImageArgs,

    #[command(flatten)]
    labels: LabelArgs,

    #[command(flatten)]
    stage: StageArgs,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let model = Model::read(&args.model)?;
    model.require_calibration()?;
    let test = Dataset::open_with(&args.id, args.input.options(&context.cancel))?;
    test.require_distinct_files()?;
    let label = test.label_column(args.labels.label.as_deref())?;
    let open = |set| Dataset::open_with(&[set], args.input.options(&context.cancel));
    let others = args.ood.iter().map(open).collect::<Result<Vec<_>>>()?;
    // What can be known now must not be found out after the test set has been scored.
    for dataset in others.iter().chain([&test]) {
        model.input_column(dataset, args.images.column(), &args.images.load())?;
    }
    if let Some(folder) = &args.charts {
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    }
    let stage = Stage::try_new(model, &args.stage.options(&args.images))?;

    let collect = |dataset: &Dataset, label: Option<&LabelColumn>, name: &str| {
        context.watch_as(name, |run| DatasetLogits::read(&stage, dataset, label, run))
    };
    let in_dist = collect(&test, Some(&label), "scoring the test set")?;
    let mut ood = Vec::new();
    for (name, dataset) in set_names(&args.ood).into_iter().zip(&others) {
        let collected = collect(dataset, None, &format!("scoring {name}"))?;
        ood.push((name, collected));
    }
    let evaluation = Evaluation::try_new(&in_dist, &ood)?;
    match args.json {
        true => {
            let bad_files: Vec<_> = others.iter().chain([&test]).flat_map(Dataset::bad_files).collect();
            ui::print(&ui::json(&Report { evaluation: &evaluation, bad_files: reasons(&bad_files) })?)?;
        }
        false => ui::print_text(&describe(&evaluation))?,
    }
    // Last: the figures must not be lost where pictures cannot be written.
    if let Some(folder) = &args.charts {
        draw(&evaluation, folder, context)?;
    }
    Ok(Outcome::Done)
}

/// The figures for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    /// Damaged files of which rows are left out, with the reason of each.
    bad_files: BTreeMap<String, String>,
}

fn draw(evaluation: &Evaluation, folder: &Path, context: &Context) -> Result<()> {
    let pictures =
        [("reliability.svg", charts::reliability(evaluation)), ("scores.svg", charts::score_histogram(evaluation))];
    for (name, picture) in pictures {
        let path = folder.join(name);
        fs::write(&path, picture).map_err(|error| Error::io(&path, error))?;
        context.ui.note(format!("drawn: {}", path.display()));
    }
    Ok(())
}

fn describe(evaluation: &Evaluation) -> String {
    let InDistFigures { rows, failed, unlabelled, examples, accuracy, ece, before, after, flagged, .. } =
        &evaluation.in_dist;
    let mut lines = vec![("test set", text::rows(*rows))];
    if failed + unlabelled + examples > 0 {
        let examples =
            if *examples > 0 { format!(", {examples} kept as examples of unknown images") } else { String::new() };
        lines.push(("left out", format!("{failed} failed, {unlabelled} without label{examples}")));
    }
    lines.push(("accuracy", estimate(accuracy, text::percent)));
    let interval = flagged.interval;
    let (lower, upper) = (text::percent(interval.lower), text::percent(interval.upper));
    let allowed = text::percent(evaluation.alpha);
    let share = text::percent(flagged.share);
    lines.push(("flagged", format!("{share} (95 %: {lower} to {upper}), {allowed} allowed")));
    lines.push(("ECE", format!("{} after calibration", estimate(ece, |ece| format!("{ece:.4}")))));
    let mut out = text::list(&lines);

    let mut table = new_table(&["", "NLL", "Brier", "ECE", "MCE", "ACE", "class-wise ECE"]);
    for (name, figures) in
        [("temperature 1".to_owned(), before), (format!("temperature {:.4}", after.temperature), after)]
    {
        let values = [figures.nll, figures.brier, figures.ece, figures.mce, figures.ace, figures.class_wise_ece];
        table.add_row([name].into_iter().chain(values.map(|value| format!("{value:.4}"))));
    }
    out.push_str(&format!("\n{}\n", aligned(table)));
    for set in &evaluation.ood {
        out.push_str(&format!("\n{}", describe_ood(set, evaluation.score)));
    }
    out
}

fn describe_ood(set: &OodFigures, own: Score) -> String {
    let left_out = [(set.failed, "failed"), (set.examples, "left out, kept as examples")];
    let left_out = left_out.into_iter().filter(|(count, _)| *count > 0);
    let left_out: String = left_out.map(|(count, why)| format!(", {} {why}", text::count(count))).collect();
    let mut out = format!(
        "{}: {}{left_out}; {} flagged by the model\n",
        set.name,
        text::rows(set.rows),
        text::percent(set.flagged.share)
    );
    let mut table =
        new_table(&["score", "AUROC (*: best)", "AUPR in", "AUPR out", "FPR95", "TNR95", "detection accuracy"]);
    let best = set.scores.values().map(|figures| figures.auroc).fold(0.0, f64::max);
    for score in Score::ALL {
        let Some(figures) = set.scores.get(score.name()) else { continue };
        let OodMetrics { auroc, aupr_in, aupr_out, fpr95, tnr95, detection_accuracy, .. } = figures;
        let mut name = score.name().to_owned();
        if score == own {
            name.push_str(" (the model's)");
        }
        let mark = if *auroc == best { " *" } else { "  " };
        let mut row = vec![name, format!("{auroc:.4}{mark}")];
        row.extend([aupr_in, aupr_out, fpr95, tnr95, detection_accuracy].map(|value| format!("{value:.4}")));
        table.add_row(row);
    }
    out.push_str(&format!("{}\n", aligned(table)));
    out
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

/// Numbers to the right, names to the left.
fn aligned(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
