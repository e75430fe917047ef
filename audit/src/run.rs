//! An audit from beginning to end.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Instant;

use super::checks::{Found, Inputs};
use super::collect::{Aside, Collected, Pass, PassColumns};
use super::error::AuditError;
use super::evidence::Evidence;
use super::groups::GroupColumn;
use super::history::{History, HistoryEntry};
use super::inspection::WORKING_SIDE;
use super::kind::{Kind, Severity};
use super::label_classes::{DataClasses, LabelClasses, too_many};
use super::model_summary::ModelSummary;
use super::need::Need;
use super::novelty::FeatureWriter;
use super::options::{AuditInputs, AuditOptions};
use super::review::Reviewer;
use super::rows::RowsWriter;
use super::scan::{Scan, WithModel, WithoutModel};
use super::sections::Material;
use super::summary::AuditSummary;
use super::table::{self, FINDINGS};
use super::thumbnails::ThumbnailWriter;
use super::{checks, format, place, report, sections, summary};
use dismax::dataset::{Dataset, LabelColumn, LoadOptions};
use dismax::error::Result;
use dismax::image::{Decoding, Needed};
use dismax::model::Model;
use dismax::run::{Progress, Run};
use dismax::stage::{DecodeOptions, Decoders, Scanner};

/// Audits a dataset into the folder `out`, which appears whole or not at all.
///
/// # Errors
/// A model that is not calibrated, a false discovery rate outside (0, 1), a rule that could never be broken, a column
/// that is not there or cannot be used, a folder that is in the way, damaged input,
/// [`Error::Cancelled`](dismax::Error::Cancelled).
pub fn audit(
    stage: &impl Scanner,
    inputs: &AuditInputs<'_>,
    out: &Path,
    options: &AuditOptions,
    run: &mut Run<'_>,
) -> Result<AuditSummary> {
    let model = stage.model();
    model.require_calibration()?;
    audit_by(&WithModel(stage), Some(model), inputs, out, options, run)
}

/// Audits a dataset without a model: broken and odd files, duplicates, leaks, and what can be said of labels and
/// groups. Classes are the labels that occur.
///
/// Images are decoded at the size at which they are looked at, at least 256 pixels a side, and turned as their EXIF
/// orientation says.
///
/// # Errors
/// As [`audit`].
pub fn audit_images(
    images: &DecodeOptions,
    inputs: &AuditInputs<'_>,
    out: &Path,
    options: &AuditOptions,
    run: &mut Run<'_>,
) -> Result<AuditSummary> {
    let needed = Some(Needed::Sides { width: WORKING_SIDE, height: WORKING_SIDE });
    let load = LoadOptions { decoding: Decoding { orientation: true, needed }, ..images.load };
    let decoders = Decoders::try_new(&DecodeOptions { load, ..images.clone() })?;
    audit_by(&WithoutModel(decoders), None, inputs, out, options, run)
}

fn audit_by(
    scan: &impl Scan,
    model: Option<&Model>,
    inputs: &AuditInputs<'_>,
    out: &Path,
    options: &AuditOptions,
    run: &mut Run<'_>,
) -> Result<AuditSummary> {
    let start = Instant::now();
    let AuditInputs { dataset, reference, unknown, marks } = *inputs;
    let calibration = model.map(Model::require_calibration).transpose()?;
    let cancel = run.cancel.clone();
    let (wanted, mut no_labels) = check(scan, model.is_some(), inputs, options)?;
    let mut reviewer = Reviewer::open(&options.review, &cancel)?;
    let mut history = options.history.as_deref().map(History::read).transpose()?;
    history.as_ref().map_or(Ok(()), History::require_writable)?;
    options.rows.as_deref().map_or(Ok(()), |rows| dataset.require_not_read(rows))?;
    let rows_writer = options.rows.as_deref().map(|rows| RowsWriter::create(rows, options.force)).transpose()?;
    let staging = place::create(out, options.force)?;
    let classes = model
        .map_or_else(|| LabelClasses::OfData(DataClasses::default()), |model| LabelClasses::OfModel(model.classes()));
    let (task, task_of_reference) = match model {
        Some(_) => ("scoring", "scoring the reference"),
        None => ("inspecting", "inspecting the reference"),
    };
    let mut pass = Pass { scan, classes, calibration };
    let known_unknown = scan.known_unknown(unknown, marks, run)?;
    let statistics = model.and_then(Model::feature_statistics).map(|statistics| &**statistics);
    let mut collect = |dataset: &Dataset, wanted: &PassColumns, task: &'static str| -> Result<_> {
        let thumbnails = ThumbnailWriter::create(staging.scratch())?;
        let features = model.map(|model| FeatureWriter::create(staging.scratch(), model.feature_width()));
        let mut aside = Aside { thumbnails, features: features.transpose()? };
        let collected = pass.run(dataset, wanted, &mut aside, task, run)?;
        Ok((collected, aside.thumbnails.finish()?, aside.features.map(FeatureWriter::finish).transpose()?))
    };
    let mut of_reference = reference
        .map(|reference| {
            let label = wanted.label.as_ref().and_then(|_| reference.label_column(options.label.as_deref()).ok());
            collect(reference, &PassColumns { label, groups: Vec::new() }, task_of_reference)
        })
        .transpose()?;
    let (mut collected, mut thumbnails, mut features) = collect(dataset, &wanted, task)?;
    let classes = match pass.classes {
        LabelClasses::OfModel(classes) => classes.to_vec(),
        LabelClasses::OfData(classes) => {
            let classes = classes.finish();
            let places = classes.as_ref().map(|(_, places)| places.as_slice());
            let reference = of_reference.as_mut().map(|(collected, ..)| collected);
            [Some(&mut collected), reference].into_iter().flatten().for_each(|rows| rows.renumber(places));
            if places.is_none() {
                no_labels = wanted.label.as_ref().map(too_many);
            }
            classes.map(|(names, _)| names).unwrap_or_default()
        }
    };
    let rows = collected.len() as u64;
    run.report(Progress { task: "analysing", rows, of: Some(rows), failed: 0 })?;

    let (reference_rows, mut reference_thumbnails) = match &mut of_reference {
        Some((collected, thumbnails, _)) => (Some(&*collected), Some(thumbnails)),
        None => (None, None),
    };
    let mut inputs = Inputs {
        collected: &collected,
        reference: reference_rows,
        divisions: checks::divisions(&collected, &dataset.row_groups()),
        classes: &classes,
        calibration,
        statistics,
        features: features.as_mut(),
        known_unknown: (!known_unknown.is_empty()).then_some(&known_unknown),
        head_features: model.map_or(0, head_features),
        fdr: options.fdr,
        thumbnails: &mut thumbnails,
        reference_thumbnails: reference_thumbnails.as_deref_mut(),
        cancel: &cancel,
    };
    let found = checks::look(&mut inputs)?;
    cancel.check()?;
    let mut summary = summarise(model, dataset, reference, options, &collected, &found);
    let evidence =
        Evidence { collected: &collected, reference: reference_rows, classes: &classes, figures: &found.figures };
    let standing = |kind, digest: &_| reviewer.standing(kind, digest);
    table::write(&staging.path(FINDINGS), &found.findings, &evidence, &thumbnails, standing)?;
    summary.review = reviewer.finish();
    cancel.check()?;
    rows_writer.map_or(Ok(()), |writer| writer.write(&evidence, &thumbnails))?;
    cancel.check()?;
    summary.seconds = start.elapsed().as_secs_f64();
    let entry = HistoryEntry::of(&summary);
    if let Some(history) = &mut history {
        history.entries.push(entry.clone());
    }
    let mut material = Material {
        findings: &found.findings,
        evidence,
        describe: checks::describe,
        calibration,
        thumbnails: &mut thumbnails,
        reference_thumbnails,
        top: options.top,
        no_labels: no_labels.as_deref(),
        accepted: options.review.accepted.as_ref(),
    };
    staging
        .write(report::FILE, report::render(&sections::view(&summary, &mut material, history.as_ref())?)?.as_bytes())?;
    staging.write(format::FILE, &summary::to_json(&summary)?)?;
    cancel.check()?;
    staging.publish()?;
    history.map_or(Ok(()), |history| history.append(&entry))?;
    Ok(summary)
}

/// How many of an image's features the head sees: the last ones.
fn head_features(model: &Model) -> usize {
    model.input().stages().last().copied().expect("a network has stages")
}

/// Everything that can be refused before work begins. Returns the columns to read, and why there is no label column.
fn check(
    scan: &impl Scan,
    has_model: bool,
    inputs: &AuditInputs<'_>,
    options: &AuditOptions,
) -> Result<(PassColumns, Option<String>)> {
    if !(options.fdr > 0.0 && options.fdr < 1.0) {
        return Err(AuditError::FalseDiscoveryRate { fdr: options.fdr }.into());
    }
    let dataset = inputs.dataset;
    dataset.require_distinct_files()?;
    let wanted_label = options.label.as_deref();
    let (label, no_labels) = match label_column(dataset, wanted_label)? {
        Ok(label) => (Some(label), None),
        Err(why) => (None, Some(why)),
    };
    let has = |need: &Need| match need {
        Need::Model => has_model,
        Need::Labels => label.is_some(),
        Need::KnownLabels => {
            has_model || inputs.reference.is_some_and(|known| known.label_column(wanted_label).is_ok())
        }
        Need::Reference => inputs.reference.is_some(),
    };
    options.rules.iter().try_for_each(|rule| rule.selection.require(|kind| kind.needs().iter().all(has)))?;
    let wanted = PassColumns { label, groups: group_columns(dataset, options)? };
    scan.input_column(dataset)?;
    if let Some(reference) = inputs.reference {
        reference.require_distinct_files()?;
        scan.input_column(reference)?;
    }
    if let Some(unknown) = inputs.unknown {
        scan.input_column(unknown)?;
    }
    Ok((wanted, no_labels))
}

/// The label column, or why there is none. One that was named must be there.
fn label_column(dataset: &Dataset, wanted: Option<&str>) -> Result<Result<LabelColumn, String>> {
    match (dataset.label_column(wanted), wanted) {
        (Ok(column), _) => Ok(Ok(column)),
        (Err(error), Some(_)) => Err(error),
        (Err(error), None) => Ok(Err(error.to_string())),
    }
}

fn group_columns(dataset: &Dataset, options: &AuditOptions) -> Result<Vec<GroupColumn>> {
    let names = options.group_by.iter().map(|name| (name, false)).chain(options.time.iter().map(|name| (name, true)));
    let mut seen = HashSet::new();
    let mut columns = Vec::new();
    for (name, by_day) in names {
        if seen.insert((name, by_day)) {
            columns.push(GroupColumn::find(dataset.schema(), name, by_day)?);
        }
    }
    Ok(columns)
}

fn summarise(
    model: Option<&Model>,
    dataset: &Dataset,
    reference: Option<&Dataset>,
    options: &AuditOptions,
    collected: &Collected,
    found: &Found,
) -> AuditSummary {
    let (format, format_version) = AuditSummary::format();
    let mut kinds: BTreeMap<Kind, u64> = found.looked_for.iter().map(|kind| (*kind, 0)).collect();
    let mut severities: BTreeMap<Severity, u64> = Severity::ALL.map(|severity| (severity, 0)).into();
    let mut has_finding = vec![false; collected.len()];
    for finding in &found.findings {
        *kinds.entry(finding.kind).or_default() += 1;
        *severities.entry(finding.severity).or_default() += 1;
        if let Some(has_finding) = has_finding.get_mut(finding.row as usize) {
            *has_finding = true;
        }
    }
    let figures = &found.figures;
    let files = |dataset: &Dataset| dataset.files().map(str::to_owned).collect::<Vec<_>>();
    AuditSummary {
        format,
        format_version,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: options.command.clone(),
        inputs: files(dataset),
        bad_files: dataset.bad_files().into_iter().map(|bad| (bad.file.to_string(), bad.reason)).collect(),
        reference: reference.map(files),
        model: model.map(|model| ModelSummary {
            path: model.path().display().to_string(),
            digest: model.digest().to_owned(),
            architecture: model.input().to_string(),
            classes: model.classes().to_vec(),
        }),
        fdr: options.fdr,
        rows: collected.len() as u64,
        scored: collected.rows().filter(|row| row.prediction.is_some()).count() as u64,
        rows_with_findings: has_finding.iter().filter(|has_finding| **has_finding).count() as u64,
        findings: found.findings.len() as u64,
        kinds,
        severities,
        unknown: figures.get().cloned(),
        labels: figures.get().cloned(),
        unseen_labels: figures.get().cloned(),
        class_balance: figures.get().cloned(),
        spurious_correlations: figures.get().cloned(),
        class_accuracy: figures.get().cloned(),
        calibration: figures.get().cloned(),
        coverage: figures.get().cloned(),
        estimated_accuracy: figures.get().cloned(),
        drift: figures.get().cloned(),
        quality: *figures.get().expect("every audit looks at files"),
        duplicates: *figures.get().expect("every audit looks for duplicates"),
        slices: figures.get().cloned().expect("every audit looks for slices"),
        review: None,
        warnings: found.warnings.clone(),
        seconds: 0.0,
    }
}
