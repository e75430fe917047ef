//! From an audit's figures and findings to what the page shows of them.

mod calibration;
mod drift;
mod duplicates;
mod files;
mod labels;
mod slices;
mod verdict;
pub(super) mod words;

use self::verdict::{tiles, verdict};
use self::words::plain;
use super::analysis::Analysis;
use super::evidence::Evidence;
use super::findings::{Finding, Related};
use super::kind::Kind;
use super::summary::AuditSummary;
use super::text::{count, counted, p_value, shown};
use super::thumbnails::{Shown, Thumbnails};
use super::view::{Detail, Item, ModelView, Picture, Subject, View};
use dismax::calibration::Calibration;
use dismax::error::Result;

/// Most rows of a table.
const MAX_ROWS: usize = 100;
/// Most input files that the page lists.
const MAX_INPUTS: usize = 100;

/// What sections are made of.
pub(super) struct Material<'a> {
    pub summary: &'a AuditSummary,
    pub analysis: &'a Analysis,
    pub evidence: Evidence<'a>,
    /// The model's; none without a model.
    pub calibration: Option<&'a Calibration>,
    pub thumbnails: &'a mut Thumbnails,
    pub reference_thumbnails: Option<&'a mut Thumbnails>,
    /// Most thumbnails of a kind.
    pub top: usize,
    /// Why there are no labels, where none were read.
    pub no_labels: Option<&'a str>,
}

impl Material<'_> {
    /// The whole page.
    pub fn view(&mut self) -> Result<View> {
        let summary = self.summary;
        let mut sections = Vec::new();
        if let Some(calibration) = self.calibration {
            sections.extend([self.unknown()?, self.labels()?, self.calibration()?, self.drift(calibration)?]);
        }
        sections.extend([self.files()?, self.duplicates()?, self.slices()]);
        // Of thousands of files the first must do, or they would be most of the page.
        let all = |names: &[String]| {
            let rest = names.len().saturating_sub(MAX_INPUTS);
            let more = (rest > 0).then(|| format!("and {}", counted(rest as u64, "more file")));
            names.iter().take(MAX_INPUTS).map(|name| shown(name)).chain(more).collect::<Vec<_>>()
        };
        Ok(View {
            title: format!("Audit of {}", title_of(&summary.inputs)),
            version: summary.version.clone(),
            command: shown(&summary.command),
            inputs: all(&summary.inputs),
            reference: summary.reference.as_deref().map(all),
            model: summary.model.as_ref().map(ModelView::of),
            rows: summary.rows,
            findings: summary.findings,
            verdict: verdict(summary),
            warnings: summary.warnings.iter().map(|warning| plain(warning)).collect(),
            tiles: tiles(summary, self.odd_rows()),
            sections,
        })
    }

    fn of_kind(&self, kind: Kind) -> &[Finding] {
        let findings = &self.analysis.findings;
        let start = findings.partition_point(|finding| finding.kind < kind);
        let end = findings.partition_point(|finding| finding.kind <= kind);
        findings.get(start..end).unwrap_or_default()
    }

    /// Thumbnails of the first findings of each kind, and how many there are in all.
    pub(super) fn gallery(&mut self, kinds: &[Kind]) -> Result<(Vec<Item>, u64)> {
        let (mut items, mut all) = (Vec::new(), 0);
        for kind in kinds {
            let findings = self.of_kind(*kind);
            all += findings.len() as u64;
            let first: Vec<Finding> = findings.iter().take(self.top).copied().collect();
            for finding in first {
                items.push(self.item(&finding)?);
            }
        }
        Ok((items, all))
    }

    pub(super) fn item(&mut self, finding: &Finding) -> Result<Item> {
        let row = self.evidence.row(finding);
        let own = self.thumbnails.get(finding.row as usize)?;
        let (file, number) = self.evidence.collected.place(finding.row as usize);
        let prediction = row.prediction;
        let predicted = prediction.map(|prediction| self.evidence.class(prediction.class));
        let label = self.evidence.label(&row);
        let caption = match finding.kind {
            Kind::Unknown => format!("looks like {}", predicted.unwrap_or_default()),
            Kind::LabelIssue => format!("{} or {}", label.unwrap_or_default(), predicted.unwrap_or_default()),
            kind => kind.title().to_owned(),
        };
        let mut details = Vec::new();
        details.extend(label.map(|label| Detail::new("Label", label)));
        details.extend(predicted.map(|class| Detail::new("Predicted", class)));
        details
            .extend(prediction.map(|prediction| Detail::new("Confidence", &format!("{:.3}", prediction.confidence))));
        details.extend(prediction.map(|prediction| Detail::new("p-value", &p_value(prediction.p_value))));
        // The strangest images where none is unknown are no findings.
        if finding.kind != Kind::Unknown || self.summary.of(Kind::Unknown) > 0 {
            details.push(Detail::new("Severity", finding.severity.name()));
        }
        details.push(Detail { name: "Why", value: self.evidence.sentence(finding) });
        details.extend(own.name.as_deref().map(|name| Detail::new("Path", name)));
        details.push(Detail::new("File", file));
        details.push(Detail::new("Row", &count(number)));
        let subject = Some(Subject::new(row.digest, finding.kind, file, number));
        let mut images = Vec::new();
        let Some(related) = finding.related else {
            images.push(Picture::new(own.jpeg.as_deref(), ""));
            return Ok(Item { images, caption: shown(&caption), details, subject, accepted: None });
        };
        images.push(Picture::new(own.jpeg.as_deref(), &format!("row {}", count(number))));
        let other = match (related, &mut self.reference_thumbnails) {
            (Related::Audited(row), _) => self.thumbnails.get(row as usize)?,
            (Related::Reference(row), Some(thumbnails)) => thumbnails.get(row as usize)?,
            (Related::Reference(_), None) => Shown::default(),
        };
        if let Some((file, row)) = self.evidence.related(finding) {
            images.push(Picture::new(other.jpeg.as_deref(), &format!("row {}", count(row))));
            details.extend(other.name.as_deref().map(|name| Detail::new("Other path", name)));
            details.push(Detail::new("Other file", file));
            details.push(Detail::new("Other row", &count(row)));
        }
        Ok(Item { images, caption: shown(&caption), details, subject, accepted: None })
    }
}

fn title_of(inputs: &[String]) -> String {
    match inputs {
        [] => "nothing".into(),
        [only] => shown(only),
        [first, rest @ ..] => format!("{} and {}", shown(first), counted(rest.len() as u64, "more file")),
    }
}
