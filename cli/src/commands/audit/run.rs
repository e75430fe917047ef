//! From flags to an audit, a comparison, or a gate on an audit that exists.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use dismax::dataset::Dataset;
use dismax::model::Model;
use dismax::stage::{DecodeOptions, Stage, StageOptions};
use dismax::{Error, Result};
use dismax_audit::{AuditInputs, AuditOptions, AuditSummary, GateReport, Marks, audit, audit_images, compare};
use serde::Serialize;

use super::args::Args;
use super::gate::Gate;
use super::print::{describe, describe_changes};
use crate::context::Context;
use crate::exit::Outcome;
use crate::ui;

/// The summary for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    summary: &'a AuditSummary,
    /// What was counted for --fail-on, where something was asked about the findings.
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<GateReport>,
}

/// The audit of images that workers score, where workers are to do it.
#[cfg(feature = "cluster")]
fn on_workers(
    args: &Args,
    model: &Arc<Model>,
    inputs: &AuditInputs<'_>,
    options: &AuditOptions,
    out: &Path,
    context: &Context,
) -> Option<Result<AuditSummary>> {
    args.cluster.is_given().then(|| {
        let name = model.path().display().to_string();
        let (scanner, _runtime) =
            args.cluster.scanner((&name, Arc::clone(model)), &args.input, &args.images, &context.cancel)?;
        context.watch(|run| audit(&scanner, inputs, out, options, run))
    })
}

#[cfg(not(feature = "cluster"))]
fn on_workers(
    _: &Args,
    _: &Arc<Model>,
    _: &AuditInputs<'_>,
    _: &AuditOptions,
    _: &Path,
    _: &Context,
) -> Option<Result<AuditSummary>> {
    None
}

#[cfg(feature = "cluster")]
fn is_on_workers(args: &Args) -> bool {
    args.cluster.is_given()
}

#[cfg(not(feature = "cluster"))]
fn is_on_workers(_: &Args) -> bool {
    false
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    if let Some(folder) = &args.gate.gate {
        let summary = AuditSummary::read(folder)?;
        return finish(args, Gate::open(args, None, context)?, folder, &summary, context);
    }
    // Without --gate clap asks for a folder.
    let out = args.out.as_deref().ok_or_else(|| Error::Config("--out is missing; name the folder to write".into()))?;
    if let Some([old, new]) = args.compare.as_deref() {
        let comparison = compare(old, new, out, args.force, &command(&context.words), &context.cancel)?;
        context.ui.note(describe_changes(&comparison, out));
        if args.json {
            ui::print(&ui::json(&comparison)?)?;
        }
        return Ok(Outcome::Done);
    }
    let model = args.model.as_ref().map(Model::read).transpose()?.map(Arc::new);
    model.as_ref().map(|model| model.require_calibration()).transpose()?;
    let dataset = Dataset::open_with(&args.inputs, args.input.options(&context.cancel))?;
    let reference = match args.reference.as_slice() {
        [] => None,
        files => Some(Dataset::open_with(files, args.input.options(&context.cancel))?),
    };
    let gate = Gate::open(args, Some(&dataset), context)?;
    let options = AuditOptions {
        label: args.labels.label.clone(),
        group_by: args.group_by.clone(),
        time: args.time.clone(),
        fdr: args.fdr,
        top: args.top,
        force: args.force,
        command: command(&context.words),
        review: gate.review.clone(),
        rules: args.gate.fail_on.clone(),
        rows: args.rows.clone(),
        history: args.history.clone(),
    };
    let (marks, unknown) = known_unknown(args, context)?;
    let (unknown, marks) = (unknown.as_ref(), marks.as_ref());
    let inputs = AuditInputs { dataset: &dataset, reference: reference.as_ref(), unknown, marks };
    let summary = match &model {
        Some(model) => on_workers(args, model, &inputs, &options, out, context).unwrap_or_else(|| {
            let stage = Stage::try_new(Arc::clone(model), &args.stage.options(&args.images))?;
            context.watch(|run| audit(&stage, &inputs, out, &options, run))
        }),
        None if is_on_workers(args) => Err(Error::Config("workers score with a model: --cluster needs --model".into())),
        None => {
            let StageOptions { workers, column: image, load, .. } = args.stage.options(&args.images);
            let images = DecodeOptions { workers, image, load };
            context.watch(|run| audit_images(&images, &inputs, out, &options, run))
        }
    }?;
    summary.warnings.iter().for_each(|warning| context.ui.warn(warning));
    context.ui.note(describe(&summary, out));
    finish(args, gate, out, &summary, context)
}

/// Marks and examples of unknown images, where they are given.
fn known_unknown(args: &Args, context: &Context) -> Result<(Option<Marks>, Option<Dataset>)> {
    let (files, examples): (Vec<&String>, Vec<&String>) =
        args.unknown.iter().partition(|file| Path::new(file).extension().is_some_and(|extension| extension == "csv"));
    let mut marks = None;
    for file in files {
        marks.get_or_insert_with(Marks::default).add(Path::new(file))?;
    }
    let open = || Dataset::open_with(&examples, args.input.options(&context.cancel));
    Ok((marks, (!examples.is_empty()).then(open).transpose()?))
}

/// What follows on an audit that lies in `folder`: the gate, exports, the exit code.
fn finish(args: &Args, gate: Gate, folder: &Path, summary: &AuditSummary, context: &Context) -> Result<Outcome> {
    let report = gate.run(folder, args, context)?;
    let is_broken = report.as_ref().is_some_and(|report| !report.passed());
    if args.json {
        ui::print(&ui::json(&Report { summary, gate: report })?)?;
    }
    if is_broken {
        return Ok(Outcome::Broken);
    }
    if args.gate.gate.is_some() || summary.rows == 0 {
        return Ok(Outcome::Done);
    }
    if summary.model.is_none() && summary.duplicates.images == 0 {
        context.ui.incomplete("no image could be decoded; the report says why");
        return Ok(Outcome::Incomplete);
    }
    if summary.model.is_some() && summary.scored == 0 {
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
