//! `dismax clean`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use dismax::Result;
use dismax::dataset::{Dataset, WriteOptions};
use dismax_audit::{Acceptances, CleanFigures, CleanOptions, Cleaning, Kind, RevisitOptions, Selection};
use serde::Serialize;

use crate::args::{ImageArgs, InputArgs};
use crate::context::Context;
use crate::exit::Outcome;
use crate::{text, ui};

pub const EXAMPLES: &str = "\
Examples:
  # How many rows would go?
  dismax clean audit --keep-one exact_duplicate,near_duplicate --dry-run
  dismax clean audit --keep-one exact_duplicate,near_duplicate --out kept.parquet --removed removed.parquet
  # Also what is in the test set, and the labels that are most surely wrong
  dismax clean audit --drop broken,leaked,leaked_near,label_issue:high --out kept.parquet --removed removed.parquet

The audited rows are read again. Both files together hold all of them, in their order and with their columns; nothing is
changed where it lies. Folders of images become rows with the images in them, as with `dismax filter`.

Removed rows get columns that say why: removed_kinds and removed_evidence (lists), and for copies kept_file and kept_row,
the row that stays. Findings that were accepted remove nothing.";

/// Flags of `dismax clean`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The audit's folder.
    #[arg(value_name = "AUDIT")]
    audit: PathBuf,

    /// The audited files, folders or addresses, in the same order, where they are elsewhere by now.
    #[arg(value_name = "INPUT")]
    inputs: Vec<String>,

    /// Remove rows with these findings: kinds, `broken` (undecodable, truncated, empty), `any` or `none`.
    ///
    /// A severity behind a colon stands for itself and the more serious ones: label_issue:high.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_value = "broken", value_parser = selection)]
    drop: Vec<Selected>,

    /// Keep the first row of each set of duplicates and remove the others.
    ///
    /// Rows are of one set where a chain of such findings leads from one to the other.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = copies())]
    keep_one: Vec<Kind>,

    /// Accepted findings, which remove nothing: a CSV file, or the marks that a report exported. May be given for
    /// several.
    #[arg(long, value_name = "FILE")]
    accept: Vec<PathBuf>,

    /// Print what would be removed, and write nothing.
    #[arg(long)]
    dry_run: bool,

    /// The file for the kept rows.
    #[arg(long, value_name = "KEPT", required_unless_present = "dry_run")]
    out: Option<String>,

    /// The file for the removed rows.
    #[arg(long, value_name = "REMOVED", required_unless_present = "dry_run")]
    removed: Option<String>,

    /// Prefix for the names of the columns that say why, for inputs that already have columns of these names.
    #[arg(long, value_name = "P", default_value = "")]
    prefix: String,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print the numbers as JSON to standard output.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    images: ImageArgs,
}

/// A selection, or `none`.
#[derive(Debug, Clone, Copy)]
struct Selected(Option<Selection>);

fn selection(word: &str) -> std::result::Result<Selected, String> {
    match word {
        "none" => Ok(Selected(None)),
        word => word.parse().map(|selection| Selected(Some(selection))).map_err(|error| format!("{error}")),
    }
}

/// Kinds that tell which rows are copies of which.
fn copies() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::COPIES.map(Kind::name))
        .map(|name| Kind::named(&name).expect("the names are those of kinds"))
}

/// The numbers for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    figures: &'a CleanFigures,
    output: Option<&'a str>,
    removed_output: Option<&'a str>,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let open = args.input.options(&context.cancel);
    let elsewhere = (!args.inputs.is_empty()).then(|| Dataset::open_with(&args.inputs, open.clone())).transpose()?;
    let options = CleanOptions {
        drop: args.drop.iter().filter_map(|selected| selected.0).collect(),
        keep_one: args.keep_one.clone(),
        accepted: Acceptances::read(&args.accept)?,
        prefix: args.prefix.clone(),
        revisit: RevisitOptions {
            dataset: elsewhere,
            image: args.images.image.clone(),
            load: args.images.load(),
            open,
        },
        write: WriteOptions { overwrite: args.force, ..WriteOptions::default() },
    };
    let cleaning = Cleaning::plan(&args.audit, &options, &context.cancel)?;
    let outputs = args.out.as_deref().zip(args.removed.as_deref()).filter(|_| !args.dry_run);
    let figures = match outputs {
        None => cleaning.figures(),
        Some((kept, removed)) => context.watch(|run| cleaning.write(kept, removed, run))?,
    };
    context.ui.note(describe(&figures, outputs));
    if args.json {
        let (output, removed_output) = outputs.unzip();
        ui::print(&ui::json(&Report { figures: &figures, output, removed_output })?)?;
    }
    Ok(Outcome::Done)
}

fn describe(figures: &CleanFigures, outputs: Option<(&str, &str)>) -> String {
    let to = |file: Option<&str>| file.map(|file| format!(": {file}")).unwrap_or_default();
    let (kept, removed) = outputs.unzip();
    let mut lines = vec![
        ("kept", format!("{} of {}{}", text::count(figures.kept), text::rows(figures.rows), to(kept))),
        ("removed", format!("{}{}", text::rows(figures.removed), to(removed))),
    ];
    let kinds: Vec<String> =
        figures.by_kind.iter().map(|(kind, rows)| format!("{} {kind}", text::count(*rows))).collect();
    if !kinds.is_empty() {
        lines.push(("because", kinds.join(", ")));
    }
    if figures.sets > 0 {
        lines.push(("sets", format!("{} of duplicates, of which one row stays", text::count(figures.sets))));
    }
    if outputs.is_none() {
        lines.push(("written", "nothing".to_owned()));
    }
    text::list(&lines)
}
