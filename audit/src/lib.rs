//! Audits: one pass over a dataset's images turns it into a report that a person can look at and a table that a program can query.
//!
//! [`audit`] scores and inspects every image once and keeps a small record of each; from these come unknown images, probably wrong labels,
//! calibration, drift, broken and odd files, duplicates, and groups of rows in which such findings pile up. What it finds stands
//! in a folder of three files: `findings.parquet` (one row per finding, joinable to the data by file and row), `summary.json`
//! ([`AuditSummary`]) and `report.html`, which needs no other file and no network. [`compare`] does the same for what changed
//! between two audits.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use dismax::run::Run;
//! use dismax::stage::StageOptions;
//! use dismax::{Dataset, Model, Stage};
//! use dismax_audit::{AuditInputs, AuditOptions, audit};
//!
//! let stage = Stage::try_new(Model::read("models/cifar10-resnet20")?, &StageOptions::default())?;
//! let inputs = AuditInputs { dataset: &Dataset::open(&["images/*.parquet"])?, reference: None };
//! let options = AuditOptions { group_by: vec!["camera".into()], ..AuditOptions::default() };
//! let mut run = Run { cancel: Default::default(), progress: &mut |_| () };
//! let summary = audit(&stage, &inputs, Path::new("audit"), &options, &mut run)?;
//! println!("{} findings in {} rows", summary.findings, summary.rows);
//! # Ok::<(), dismax::Error>(())
//! ```
//!
//! Memory grows by about 260 bytes for each different image and 80 for each row, where very many images look alike by up to twice that; images
//! and thumbnails are not kept in it. A temporary file beside the output holds 1 to 3 KB for each different image while the audit runs. Time grows with the rows, and a little faster with the
//! different images among them, whose near duplicates are searched.

mod analysis;
mod collect;
mod compare;
mod confidence;
mod drift;
mod duplicates;
mod error;
mod findings;
mod groups;
mod inspection;
mod kind;
mod labels;
mod likeness;
mod observer;
mod pictures;
mod place;
mod quality;
mod report;
mod sections;
mod slices;
mod summary;
mod text;
mod thumbnails;
mod unknown;
mod view;

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

pub use self::compare::{Comparison, KindChange, compare};
pub use self::confidence::{CalibrationFigures, ConfidenceGap};
pub use self::drift::{DriftFigures, DriftTest, Quantity};
pub use self::duplicates::DuplicateFigures;
pub use self::error::AuditError;
pub use self::kind::{Kind, Severity};
pub use self::labels::{ClassNoise, JointCell, LabelFigures};
pub use self::quality::{QualityFigures, RobustScale};
pub use self::slices::{Slice, SliceFigures};
pub use self::summary::{AuditSummary, ModelSummary};
pub use self::unknown::UnknownFigures;

use self::analysis::Analysis;
use self::collect::{Collected, Pass, Wanted};
use self::findings::Evidence;
use self::groups::GroupColumn;
use self::sections::Material;
use self::thumbnails::ThumbnailWriter;
use dismax::dataset::{Dataset, LabelColumn};
use dismax::error::Result;
use dismax::model::Model;
use dismax::run::{Progress, Run};
use dismax::stage::Stage;

/// Name of the table in an audit's folder.
const FINDINGS: &str = "findings.parquet";

/// What is audited, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditOptions {
    /// Label column; the one with a usual name where none is given, and no labels where there is no such column either.
    pub label: Option<String>,
    /// Columns whose values divide the rows into groups.
    pub group_by: Vec<String>,
    /// Column of times, which divide the rows by day.
    pub time: Option<String>,
    /// False discovery rate in (0, 1) of unknown images, of calibration gaps, of drift and of slices, each on its own.
    pub fdr: f64,
    /// Most thumbnails of each kind in the report.
    pub top: usize,
    /// Whether an audit that is there already is replaced.
    pub force: bool,
    /// What stands in the report as the command.
    pub command: String,
}

impl Default for AuditOptions {
    /// Labels where there are some, no groups, a false discovery rate of 0.05, 24 thumbnails, nothing replaced.
    fn default() -> Self {
        Self { label: None, group_by: Vec::new(), time: None, fdr: 0.05, top: 24, force: false, command: String::new() }
    }
}

/// What is audited.
#[derive(Debug, Clone, Copy)]
pub struct AuditInputs<'a> {
    /// The audited dataset.
    pub dataset: &'a Dataset,
    /// What it is compared with: for drift, and for images that are in both.
    pub reference: Option<&'a Dataset>,
}

/// Audits a dataset into the folder `out`, which appears whole or not at all.
///
/// # Errors
/// A model that is not calibrated, a false discovery rate outside (0, 1), a column that is not there or cannot be used, a
/// folder that is in the way, damaged input, [`Error::Cancelled`](dismax::Error::Cancelled).
pub fn audit(
    stage: &Stage,
    inputs: &AuditInputs<'_>,
    out: &Path,
    options: &AuditOptions,
    run: &mut Run<'_>,
) -> Result<AuditSummary> {
    let start = Instant::now();
    let AuditInputs { dataset, reference } = *inputs;
    let model = stage.model();
    let calibration = model.require_calibration()?;
    let cancel = run.cancel.clone();
    if !(options.fdr > 0.0 && options.fdr < 1.0) {
        return Err(AuditError::FalseDiscoveryRate { fdr: options.fdr }.into());
    }
    dataset.require_distinct_files()?;
    let (label, no_labels) = match label_column(dataset, options.label.as_deref())? {
        Ok(label) => (Some(label), None),
        Err(why) => (None, Some(why)),
    };
    let wanted = Wanted { label, groups: group_columns(dataset, options)? };
    stage.image_column(dataset)?;
    if let Some(reference) = reference {
        reference.require_distinct_files()?;
        stage.image_column(reference)?;
    }
    let staging = place::create(out, options.force)?;
    let pass = Pass { stage, calibration };
    let mut collect = |dataset: &Dataset, wanted: &Wanted, task: &'static str| -> Result<_> {
        let mut thumbnails = ThumbnailWriter::create(staging.scratch())?;
        let collected = pass.run(dataset, wanted, &mut thumbnails, task, run)?;
        Ok((collected, thumbnails.finish()?))
    };
    let mut of_reference =
        reference.map(|reference| collect(reference, &Wanted::default(), "scoring the reference")).transpose()?;
    let (collected, mut thumbnails) = collect(dataset, &wanted, "scoring")?;
    let rows = collected.len() as u64;
    run.report(Progress { task: "analysing", rows, of: Some(rows), failed: 0 })?;

    let (reference_rows, mut reference_thumbnails) = match &mut of_reference {
        Some((collected, thumbnails)) => (Some(&*collected), Some(thumbnails)),
        None => (None, None),
    };
    let row_groups = dataset.row_groups()?;
    let analysis = analysis::analyse(
        &collected,
        reference_rows,
        &row_groups,
        model.classes(),
        calibration,
        options,
        &mut thumbnails,
        reference_thumbnails.as_deref_mut(),
        &cancel,
    )?;
    cancel.check()?;
    let mut summary = summarise(model, dataset, reference, options, &collected, &analysis);
    let evidence = Evidence {
        collected: &collected,
        reference: reference_rows,
        classes: model.classes(),
        unknown: &analysis.unknown,
        quality: &analysis.quality,
    };
    findings::write(&staging.path(FINDINGS), &analysis.findings, &evidence)?;
    cancel.check()?;
    summary.seconds = start.elapsed().as_secs_f64();
    let mut material = Material {
        summary: &summary,
        analysis: &analysis,
        evidence,
        calibration,
        thumbnails: &mut thumbnails,
        reference_thumbnails,
        top: options.top,
        no_labels: no_labels.as_deref(),
    };
    staging.write(report::FILE, report::render(&material.view()?)?.as_bytes())?;
    staging.write(summary::FILE, &summary::to_json(&summary)?)?;
    cancel.check()?;
    staging.publish()?;
    Ok(summary)
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
    model: &Model,
    dataset: &Dataset,
    reference: Option<&Dataset>,
    options: &AuditOptions,
    collected: &Collected,
    analysis: &Analysis,
) -> AuditSummary {
    let (format, format_version) = AuditSummary::format();
    let mut kinds: std::collections::BTreeMap<Kind, u64> = Kind::ALL.map(|kind| (kind, 0)).into();
    let mut severities: std::collections::BTreeMap<Severity, u64> =
        [Severity::High, Severity::Medium, Severity::Low].map(|severity| (severity, 0)).into();
    let mut found = vec![false; collected.len()];
    for finding in &analysis.findings {
        *kinds.entry(finding.kind).or_default() += 1;
        *severities.entry(finding.severity).or_default() += 1;
        if let Some(found) = found.get_mut(finding.row as usize) {
            *found = true;
        }
    }
    let files = |dataset: &Dataset| dataset.files().map(str::to_owned).collect::<Vec<_>>();
    AuditSummary {
        format,
        format_version,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: options.command.clone(),
        inputs: files(dataset),
        reference: reference.map(files),
        model: ModelSummary {
            path: model.path().display().to_string(),
            digest: model.digest().to_owned(),
            architecture: model.config().architecture.name().to_owned(),
            classes: model.classes().to_vec(),
        },
        rows: collected.len() as u64,
        scored: collected.rows().filter(|row| row.prediction.is_some()).count() as u64,
        rows_with_findings: found.iter().filter(|found| **found).count() as u64,
        findings: analysis.findings.len() as u64,
        kinds,
        severities,
        unknown: analysis.unknown.clone(),
        labels: analysis.labels.clone(),
        calibration: analysis.calibration.clone(),
        drift: analysis.drift.clone(),
        quality: analysis.quality,
        duplicates: analysis.duplicates,
        slices: analysis.slices.clone(),
        warnings: analysis.warnings.clone(),
        seconds: 0.0,
    }
}
