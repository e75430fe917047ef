//! `summary.json`: the figures of an audit.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checks::{
    CalibrationFigures, ClassAccuracyFigures, ClassBalanceFigures, CoverageFigures, DriftFigures,
    EstimatedAccuracyFigures, LabelFigures, QualityFigures, SliceFigures, SpuriousCorrelationFigures, UnknownFigures,
    UnseenLabelFigures,
};
use super::duplicates::DuplicateFigures;
use super::format::{AUDIT, FILE, Version};
use super::kind::{Kind, Severity};
use super::model_summary::ModelSummary;
use super::review::ReviewFigures;
use dismax::error::{Error, Result};

/// Version of the layout that is written and read.
const VERSION: u32 = 4;

/// Figures of an audit. As JSON it has these fields under these names; they stay.
///
/// Shares lie in [0, 1], intervals have a confidence of 95 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditSummary {
    /// `dismax audit`.
    pub format: String,
    /// Version of the layout.
    pub format_version: u32,
    /// Version of this crate.
    pub version: String,
    /// The command, or what the caller wrote instead.
    pub command: String,
    /// Files that were audited.
    pub inputs: Vec<String>,
    /// Damaged files among them of which rows are left out, with the reason of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bad_files: BTreeMap<String, String>,
    /// Files of the reference; none without.
    pub reference: Option<Vec<String>>,
    /// The model; none where images alone were looked at.
    pub model: Option<ModelSummary>,
    /// False discovery rate asked for.
    pub fdr: f64,
    /// Rows read.
    pub rows: u64,
    /// Rows with a prediction.
    pub scored: u64,
    /// Rows with at least one finding.
    pub rows_with_findings: u64,
    /// Findings.
    pub findings: u64,
    /// Findings by kind; a kind that was not looked for is missing, [`Kind::needs`] says why.
    pub kinds: BTreeMap<Kind, u64>,
    /// Findings by severity; every severity is there.
    pub severities: BTreeMap<Severity, u64>,
    /// Unknown images; none without a model.
    pub unknown: Option<UnknownFigures>,
    /// Labels; none without labels or a model.
    pub labels: Option<LabelFigures>,
    /// Labels that the model or the reference does not know; none where there are no such labels and no reference that
    /// has labels.
    pub unseen_labels: Option<UnseenLabelFigures>,
    /// Rows by class; none without labels or a model.
    pub class_balance: Option<ClassBalanceFigures>,
    /// Properties of images that predict the label; none without labels.
    pub spurious_correlations: Option<SpuriousCorrelationFigures>,
    /// Accuracy by class; none without labels or a model.
    pub class_accuracy: Option<ClassAccuracyFigures>,
    /// Calibration on these rows; none without labels or a model.
    pub calibration: Option<CalibrationFigures>,
    /// Coverage of prediction sets; none without labels, a model, or enough calibration rows for sets.
    pub coverage: Option<CoverageFigures>,
    /// Accuracy by the confidences; none without a model.
    pub estimated_accuracy: Option<EstimatedAccuracyFigures>,
    /// Drift; none where nothing could be compared.
    pub drift: Option<DriftFigures>,
    /// What is usual among the images.
    pub quality: QualityFigures,
    /// Duplicates.
    pub duplicates: DuplicateFigures,
    /// Groups of rows in which findings pile up.
    pub slices: SliceFigures,
    /// What of the findings was known before; none where they were compared with nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewFigures>,
    /// What a reader should know before trusting the figures.
    pub warnings: Vec<String>,
    /// From the first row read to the last figure.
    pub seconds: f64,
}

impl AuditSummary {
    pub(super) fn format() -> (String, u32) {
        (AUDIT.to_owned(), VERSION)
    }

    /// Findings of a kind; 0 also where it was [not looked for](Self::looked_for).
    pub fn of(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or(0)
    }

    /// Whether findings of a kind were looked for.
    pub fn looked_for(&self, kind: Kind) -> bool {
        self.kinds.contains_key(&kind)
    }

    /// Reads the summary in an audit's folder.
    ///
    /// # Errors
    /// [`Error::Data`] for a folder that is no audit, or one of a newer version.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let name = path.display();
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Error::data(
                folder.display(),
                format!("not an audit: there is no {FILE} in it; give the folder that `dismax audit` wrote"),
            ),
            _ => Error::io(&path, error),
        })?;
        let version = Version::of(&text).ok_or_else(|| Error::data(&name, "is not the summary of an audit"))?;
        if version.format_version != VERSION {
            let theirs = version.format_version;
            return Err(Error::data(
                &name,
                format!("format version {theirs}, but this program reads version {VERSION}; audit again"),
            ));
        }
        serde_json::from_str(&text).map_err(|error| Error::data(&name, format!("is damaged: {error}; audit again")))
    }
}

/// Anything as JSON for people and programs.
pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Error::Internal(format!("{FILE}: {error}")))?;
    text.push(b'\n');
    Ok(text)
}
