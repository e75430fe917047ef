//! Kinds of findings and how serious each is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::need::Need;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The image is unlike those that the model was calibrated on.
    Unknown,
    /// The label is probably wrong.
    LabelIssue,
    /// The label is no class of the model, or one that the reference does not have.
    UnseenLabel,
    /// The image cannot be decoded.
    Undecodable,
    /// The image's bytes end before the image does.
    Truncated,
    /// There is no image: null, or no bytes.
    Empty,
    /// The bytes are of another format than the file's name says.
    MislabelledFormat,
    /// Far more or far fewer pixels than the other images.
    ExtremeSize,
    /// One side is more than four times the other.
    ExtremeAspect,
    /// Almost black all over.
    NearBlack,
    /// Almost white all over.
    NearWhite,
    /// Almost one tone all over.
    NearUniform,
    /// Far less sharp than the other images.
    Blurred,
    /// Without colour among images that have some.
    Grey,
    /// The same image as an earlier row's, byte for byte.
    ExactDuplicate,
    /// Nearly the same image as an earlier row's.
    NearDuplicate,
    /// The same image as one of the reference's, byte for byte.
    Leaked,
    /// Nearly the same image as one of the reference's.
    LeakedNear,
}

impl Kind {
    /// Kinds whose image is of no use.
    pub(super) const BROKEN: [Self; 3] = [Self::Undecodable, Self::Truncated, Self::Empty];

    /// Kinds that tell which rows are copies of which.
    pub const COPIES: [Self; 2] = [Self::ExactDuplicate, Self::NearDuplicate];

    /// All kinds, in the order of the report.
    pub const ALL: [Self; 18] = [
        Self::Unknown,
        Self::LabelIssue,
        Self::UnseenLabel,
        Self::Undecodable,
        Self::Truncated,
        Self::Empty,
        Self::MislabelledFormat,
        Self::ExtremeSize,
        Self::ExtremeAspect,
        Self::NearBlack,
        Self::NearWhite,
        Self::NearUniform,
        Self::Blurred,
        Self::Grey,
        Self::ExactDuplicate,
        Self::NearDuplicate,
        Self::Leaked,
        Self::LeakedNear,
    ];

    /// Its name in `findings.parquet` and `summary.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::LabelIssue => "label_issue",
            Self::UnseenLabel => "unseen_label",
            Self::Undecodable => "undecodable",
            Self::Truncated => "truncated",
            Self::Empty => "empty",
            Self::MislabelledFormat => "mislabelled_format",
            Self::ExtremeSize => "extreme_size",
            Self::ExtremeAspect => "extreme_aspect",
            Self::NearBlack => "near_black",
            Self::NearWhite => "near_white",
            Self::NearUniform => "near_uniform",
            Self::Blurred => "blurred",
            Self::Grey => "grey",
            Self::ExactDuplicate => "exact_duplicate",
            Self::NearDuplicate => "near_duplicate",
            Self::Leaked => "leaked",
            Self::LeakedNear => "leaked_near",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown images",
            Self::LabelIssue => "Probably wrong labels",
            Self::UnseenLabel => "Unseen labels",
            Self::Undecodable => "Undecodable files",
            Self::Truncated => "Truncated files",
            Self::Empty => "Missing images",
            Self::MislabelledFormat => "Another format than the name says",
            Self::ExtremeSize => "Extreme sizes",
            Self::ExtremeAspect => "Extreme proportions",
            Self::NearBlack => "Nearly black",
            Self::NearWhite => "Nearly white",
            Self::NearUniform => "Nearly one tone",
            Self::Blurred => "Blurred",
            Self::Grey => "Grey among coloured",
            Self::ExactDuplicate => "Exact duplicates",
            Self::NearDuplicate => "Near duplicates",
            Self::Leaked => "Also in the reference",
            Self::LeakedNear => "Nearly the same in the reference",
        }
    }

    /// What `score` is in a finding of this kind.
    pub const fn score_meaning(self) -> &'static str {
        match self {
            Self::Unknown => "ood_score; higher is more unlike the calibration images",
            Self::LabelIssue => "largest probability of another class minus that of the label, in [-1, 1]",
            Self::UnseenLabel => "rows with this label",
            Self::Undecodable | Self::Truncated | Self::Empty | Self::MislabelledFormat => "1",
            Self::ExtremeSize => "robust z-score of the logarithm of the number of pixels",
            Self::ExtremeAspect => "longer side divided by the shorter",
            Self::NearBlack | Self::NearWhite => "mean luma, in [0, 1]",
            Self::NearUniform => "standard deviation of the luma, in [0, 0.5]",
            Self::Blurred => "robust z-score of the logarithm of the sharpness; far below 0 is blurred",
            Self::Grey => "colour: mean difference of the largest and the smallest channel, in [0, 1]",
            Self::ExactDuplicate => "rows that hold this image",
            Self::NearDuplicate | Self::LeakedNear => "bits of 120 in which the perceptual hashes differ",
            Self::Leaked => "rows of the reference that hold this image",
        }
    }

    /// What an audit must have to look for it.
    pub const fn needs(self) -> &'static [Need] {
        match self {
            Self::Unknown => &[Need::Model],
            Self::LabelIssue => &[Need::Model, Need::Labels],
            Self::UnseenLabel => &[Need::Labels, Need::KnownLabels],
            Self::Leaked | Self::LeakedNear => &[Need::Reference],
            _ => &[],
        }
    }

    /// Whether the finding with the smaller score is the more striking one.
    pub(super) const fn smallest_first(self) -> bool {
        matches!(
            self,
            Self::NearBlack | Self::NearUniform | Self::Blurred | Self::Grey | Self::NearDuplicate | Self::LeakedNear
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be looked at first.
    High,
    /// Worth a look.
    Medium,
    /// Often harmless.
    Low,
}

impl Severity {
    /// All severities, the most serious first.
    pub const ALL: [Self; 3] = [Self::High, Self::Medium, Self::Low];

    /// The severity of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.name() == name)
    }

    /// Its name in `findings.parquet`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json_and_differ() {
        let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("a name"), kind.name());
        }
        assert!(Kind::ALL.is_sorted(), "the order of the report is that of the type");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
