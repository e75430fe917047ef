//! What sections are made of, and the pictures in them.

use super::words::rest;
use crate::checks::Figures;
use crate::evidence::{Description, Evidence};
use crate::findings::{Finding, Related};
use crate::kind::Kind;
use crate::review::{Acceptance, Acceptances};
use crate::text::{count, p_value, shown};
use crate::thumbnails::{Shown, Thumbnails};
use crate::view::{Detail, Item, Picture, Section, Subject};
use dismax::calibration::Calibration;
use dismax::error::Result;

/// Most rows of a table.
pub(crate) const MAX_ROWS: usize = 100;

/// What sections are made of.
pub(crate) struct Material<'a> {
    /// Sorted.
    pub findings: &'a [Finding],
    pub evidence: Evidence<'a>,
    /// What is said of a finding.
    pub describe: fn(&Finding, &Evidence<'_>) -> Description,
    /// The model's; none without a model.
    pub calibration: Option<&'a Calibration>,
    pub thumbnails: &'a mut Thumbnails,
    pub reference_thumbnails: Option<&'a mut Thumbnails>,
    /// Most thumbnails of a kind.
    pub top: usize,
    /// Why there are no labels, where none were read.
    pub no_labels: Option<&'a str>,
    /// Findings that people accepted.
    pub accepted: Option<&'a Acceptances>,
}

impl<'a> Material<'a> {
    /// What checks found out.
    pub fn figures(&self) -> &'a Figures {
        self.evidence.figures
    }

    /// Number of findings of a kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.of_kind(kind).len() as u64
    }

    fn of_kind(&self, kind: Kind) -> &'a [Finding] {
        let start = self.findings.partition_point(|finding| finding.kind < kind);
        let end = self.findings.partition_point(|finding| finding.kind <= kind);
        self.findings.get(start..end).unwrap_or_default()
    }

    /// Puts thumbnails of the first findings of each kind into a section, and says so where there are more.
    pub fn show(&mut self, section: &mut Section, kinds: &[Kind]) -> Result<()> {
        let mut all = 0;
        for kind in kinds {
            let findings = self.of_kind(*kind);
            all += findings.len() as u64;
            for finding in findings.iter().take(self.top) {
                let item = self.item(finding)?;
                section.gallery.push(item);
            }
        }
        section.footnote = rest(section.gallery.len(), all);
        Ok(())
    }

    /// A finding's picture.
    fn item(&mut self, finding: &Finding) -> Result<Item> {
        self.picture(finding, true)
    }

    /// The picture of what is no finding, but near one.
    pub fn example(&mut self, finding: &Finding) -> Result<Item> {
        self.picture(finding, false)
    }

    fn picture(&mut self, finding: &Finding, is_found: bool) -> Result<Item> {
        let row = self.evidence.row(finding);
        let own = self.thumbnails.get(finding.row as usize)?;
        let (file, number) = self.evidence.collected.place(finding.row as usize);
        let prediction = row.prediction;
        let Description { caption, sentence } = (self.describe)(finding, &self.evidence);
        let mut details = Vec::new();
        details.extend(self.evidence.label(finding.row).map(|label| Detail::new("Label", label)));
        if let Some(prediction) = prediction {
            details.push(Detail::new("Predicted", self.evidence.class(prediction.class)));
            details.push(Detail::new("Confidence", &format!("{:.3}", prediction.confidence)));
            details.push(Detail::new("p-value", &p_value(prediction.p_value)));
        }
        if is_found {
            details.push(Detail::new("Severity", finding.severity.name()));
        }
        details.push(Detail { name: "Why", value: sentence });
        details.extend(own.name.as_deref().map(|name| Detail::new("Path", name)));
        details.push(Detail::new("File", file));
        details.push(Detail::new("Row", &count(number)));
        let accepted =
            self.accepted.and_then(|accepted| accepted.find(finding.kind, row.digest)).map(Acceptance::to_string);
        let subject = Some(Subject::new(row.digest, finding.kind, file, number));
        let mut images = Vec::new();
        let Some(related) = finding.related else {
            images.push(Picture::new(own.jpeg.as_deref(), ""));
            return Ok(Item { images, caption: shown(&caption), details, subject, accepted });
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
        Ok(Item { images, caption: shown(&caption), details, subject, accepted })
    }
}
