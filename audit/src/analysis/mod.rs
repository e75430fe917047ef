//! From the records of a pass to findings and figures: a file for each section of the report.

mod confidence;
mod divisions;
mod drift;
mod duplicates;
mod files;
mod inputs;
mod labels;
mod rows;

use self::confidence::{calibrate, trained_on};
use self::divisions::{OwnDivision, divisions};
pub(super) use self::inputs::AnalysisInputs;
pub(super) use self::rows::predictions;
use super::checks::unknown::{self, UnknownFigures};
use super::collect::{Collected, Prediction};
use super::confidence::CalibrationFigures;
use super::drift::DriftFigures;
use super::duplicates::DuplicateFigures;
use super::findings::{self, Finding, Related};
use super::kind::Kind;
use super::labels::LabelFigures;
use super::quality::QualityFigures;
use super::slices::{self, Division, SliceFigures};
use super::text::counted;
use super::thumbnails::Thumbnails;
use dismax::cancel::Cancel;
use dismax::error::Result;

/// Everything that was found out.
#[derive(Debug)]
pub(super) struct Analysis {
    /// Sorted.
    pub findings: Vec<Finding>,
    /// None without a model.
    pub unknown: Option<UnknownFigures>,
    pub labels: Option<LabelFigures>,
    pub calibration: Option<CalibrationFigures>,
    pub drift: Option<DriftFigures>,
    pub quality: QualityFigures,
    pub duplicates: DuplicateFigures,
    pub slices: SliceFigures,
    pub warnings: Vec<String>,
}

/// Analyses what a pass collected.
pub(super) fn analyse(
    inputs: &AnalysisInputs<'_>,
    thumbnails: &mut Thumbnails,
    reference_thumbnails: Option<&mut Thumbnails>,
    cancel: &Cancel,
) -> Result<Analysis> {
    let AnalysisInputs { collected, reference, calibration, .. } = *inputs;
    let fdr = inputs.options.fdr;
    let p_values = || predictions(collected).map(|(_, _, prediction)| prediction.p_value).collect::<Vec<f64>>();
    let unknown = calibration.map(|calibration| unknown::figures(&p_values(), fdr, calibration.rows)).transpose()?;
    let threshold = unknown.as_ref().and_then(|unknown| unknown.threshold);
    let mut findings = threshold.map(|most| unknown::findings(collected, most)).unwrap_or_default();
    let is_unknown = |prediction: &Prediction| threshold.is_some_and(|most| prediction.p_value <= most);

    let labels = labels::find_labels(collected, inputs.classes, is_unknown, &mut findings)?;
    let divisions = divisions(collected, inputs.row_groups);
    let figures = calibrate(collected, inputs.classes, &divisions, fdr)?;
    let too_good = figures.as_ref().zip(calibration);
    let too_good = too_good.map(|(figures, calibration)| trained_on(figures, calibration)).transpose()?.flatten();
    let warnings = too_good.into_iter().chain(foreign_labels(collected)).collect();

    let drift = drift::drift_figures(inputs, &divisions)?;
    findings.extend(files::broken_findings(collected));
    let (quality, odd) = files::odd_findings(collected);
    findings.extend(odd);
    let both = reference.zip(reference_thumbnails);
    let duplicates = duplicates::duplicate_findings(collected, thumbnails, both, &mut findings, cancel)?;
    findings::sort(&mut findings);
    let slices = find_slices(&findings, &divisions, fdr)?;
    Ok(Analysis { findings, unknown, labels, calibration: figures, drift, quality, duplicates, slices, warnings })
}

/// Says so where labels are no classes of the model.
fn foreign_labels(collected: &Collected) -> Option<String> {
    let (rows, first) = &collected.foreign_labels;
    first.as_ref().map(|first| {
        format!(
            "{} with a label that is no class of the model count as unlabelled, the first of them {first}.",
            counted(*rows, "row")
        )
    })
}

/// Groups of rows in which findings pile up.
fn find_slices(findings: &[Finding], divisions: &[OwnDivision], fdr: f64) -> Result<SliceFigures> {
    // Of duplicates the first row counts as well: the later ones pile up towards the end of any dataset.
    let both = findings.iter().flat_map(|finding| {
        let related = match finding.related {
            Some(Related::Audited(row)) => Some((row, finding.kind)),
            _ => None,
        };
        [Some((finding.row, finding.kind)), related].into_iter().flatten()
    });
    let mut pairs: Vec<(u32, Kind)> = both.collect();
    pairs.sort_unstable();
    pairs.dedup();
    let divisions: Vec<Division> =
        divisions.iter().map(|own| Division { by: &own.by, values: &own.values, codes: &own.codes }).collect();
    slices::find(&divisions, &pairs, fdr)
}
