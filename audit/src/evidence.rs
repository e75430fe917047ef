//! What speaks for a finding, in words.

use super::checks::unknown::UnknownFigures;
use super::collect::{Collected, Row};
use super::findings::{Finding, Related};
use super::kind::Kind;
use super::quality::{QualityFigures, RobustScale, aspect};
use super::text::{counted, p_value, percent, shown};
use dismax::error::RowErrorCode;

/// What sentences about findings are made of.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub collected: &'a Collected,
    pub reference: Option<&'a Collected>,
    pub classes: &'a [String],
    pub unknown: Option<&'a UnknownFigures>,
    pub quality: &'a QualityFigures,
}

impl<'a> Evidence<'a> {
    /// Name of a class.
    pub fn class(&self, class: u32) -> &'a str {
        &self.classes[class as usize]
    }

    /// The row of a finding.
    pub fn row(&self, finding: &Finding) -> Row<'a> {
        self.collected.row(finding.row as usize).expect("findings are about rows that were collected")
    }

    /// File and row of the other one of a pair.
    pub fn related(&self, finding: &Finding) -> Option<(&'a str, u64)> {
        match finding.related? {
            Related::Audited(row) => Some(self.collected.place(row as usize)),
            Related::Reference(row) => Some(self.reference?.place(row as usize)),
        }
    }

    /// The label of a row.
    pub fn label(&self, row: &Row<'_>) -> Option<&'a str> {
        row.label.map(|label| self.class(label))
    }

    /// What speaks for a finding, in a sentence.
    pub fn sentence(&self, finding: &Finding) -> String {
        let row = self.row(finding);
        let score = finding.score;
        match finding.kind {
            Kind::Unknown => self.unknown_sentence(&row),
            Kind::LabelIssue => self.label_sentence(&row),
            Kind::Truncated | Kind::Empty | Kind::Undecodable | Kind::MislabelledFormat => {
                self.file_sentence(finding, &row)
            }
            Kind::ExtremeSize | Kind::ExtremeAspect | Kind::Blurred => self.odd_sentence(finding, &row),
            Kind::NearBlack | Kind::NearWhite => format!("Mean luma {score:.3} of 1."),
            Kind::NearUniform => format!("The luma's standard deviation is {score:.4}: nearly one tone."),
            Kind::ExactDuplicate | Kind::NearDuplicate | Kind::Leaked | Kind::LeakedNear => {
                self.pair_sentence(finding, &row)
            }
        }
    }

    fn unknown_sentence(&self, row: &Row<'_>) -> String {
        let prediction = row.prediction.expect("only predicted rows are unknown");
        // The page shows the strangest images also where none counts as unknown.
        let most = self
            .unknown
            .and_then(|unknown| unknown.threshold)
            .map(|most| format!("; up to {} images are unknown at the false discovery rate asked for", p_value(most)));
        format!(
            "A share of {} of the calibration images look at least as strange{}. The nearest class is {}.",
            p_value(prediction.p_value),
            most.unwrap_or_default(),
            quoted(self.class(prediction.class))
        )
    }

    fn label_sentence(&self, row: &Row<'_>) -> String {
        let prediction = row.prediction.expect("labels are compared with predictions");
        format!(
            "Labelled {}, to which the model gives {}; it gives {} to {}.",
            quoted(self.label(row).expect("only labels can be wrong")),
            percent(row.label_probability.into()),
            percent(prediction.confidence.into()),
            quoted(self.class(prediction.class))
        )
    }

    fn file_sentence(&self, finding: &Finding, row: &Row<'_>) -> String {
        let message = shown(self.collected.message(finding.row as usize));
        match finding.kind {
            Kind::Truncated => format!("The bytes end before the image does: {message}."),
            Kind::Empty if row.error == Some(RowErrorCode::NullImage) => "The image is null.".into(),
            Kind::Empty => "The image has no bytes.".into(),
            Kind::MislabelledFormat => {
                let found = row.look.and_then(|look| look.format).expect("formats of bytes are compared");
                let promised = row.promised.expect("with those of names");
                format!("The bytes are {}, the name says {}.", found.name(), promised.name())
            }
            _ => {
                let code = row.error.expect("an image that cannot be used has an error").as_str();
                let colon = if message.is_empty() { "" } else { ": " };
                format!("The image cannot be used ({code}){colon}{message}.")
            }
        }
    }

    fn odd_sentence(&self, finding: &Finding, row: &Row<'_>) -> String {
        let look = row.look.expect("only decoded images look odd");
        let median = |scale: Option<RobustScale>| scale.expect("odd images lie far from a median").median;
        let (size, score) = (format!("{} x {} pixels", look.width, look.height), finding.score);
        match finding.kind {
            Kind::ExtremeSize => {
                let median = median(self.quality.pixels).round();
                format!("{size}, while the median image has {median} pixels: {score:+.1} robust deviations.")
            }
            Kind::ExtremeAspect => {
                format!("{size}: one side is {:.1} times the other.", aspect(look.width, look.height))
            }
            _ => format!(
                "Sharpness {:.5}, while the median image has {:.5}: {score:+.1} robust deviations.",
                look.sharpness,
                median(self.quality.sharpness)
            ),
        }
    }

    fn pair_sentence(&self, finding: &Finding, row: &Row<'_>) -> String {
        let (file, number) = self.related(finding).expect("a pair has two rows");
        let (other, score) = (format!("row {number} of {}", shown(file)), finding.score);
        match finding.kind {
            Kind::ExactDuplicate => {
                let (rows, labels) = (counted(score as u64, "row"), self.other_label(finding, row));
                format!("Byte for byte the image of {other}; {rows} hold it.{labels}")
            }
            Kind::NearDuplicate => {
                let labels = self.other_label(finding, row);
                format!("Nearly the image of {other}: the perceptual hashes differ in {score} of 121 bits.{labels}")
            }
            Kind::Leaked => {
                format!("Byte for byte the image of {other} in the reference, where {} it.", holds(score as u64))
            }
            _ => format!(
                "Nearly the image of {other} in the reference: the perceptual hashes differ in {score} of 121 bits."
            ),
        }
    }

    /// Says so where the two rows of a pair have different labels.
    fn other_label(&self, finding: &Finding, row: &Row<'_>) -> String {
        let Some(Related::Audited(other)) = finding.related else { return String::new() };
        let other = self.collected.row(other as usize).and_then(|other| self.label(&other));
        match (self.label(row), other) {
            (Some(label), Some(other)) if label != other => {
                format!(" The labels differ: {} here, {} there.", quoted(label), quoted(other))
            }
            _ => String::new(),
        }
    }
}

fn holds(rows: u64) -> String {
    format!("{} {}", counted(rows, "row"), if rows == 1 { "holds" } else { "hold" })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", shown(name))
}
