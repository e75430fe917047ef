//! What a finding is about: rows, classes, and what checks know.

use std::borrow::Cow;

use super::checks::{Figures, Strangeness};
use super::collect::{Collected, Row};
use super::findings::{Finding, Related};
use super::kind::Kind;
use super::text::shown;

/// What is said of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    /// A few words under its picture.
    pub caption: Cow<'static, str>,
    /// What speaks for it, in a sentence.
    pub sentence: String,
}

impl Description {
    /// A sentence; the kind says the rest.
    pub fn new(kind: Kind, sentence: String) -> Self {
        Self { caption: kind.title().into(), sentence }
    }
}

/// What descriptions of findings are made of.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub collected: &'a Collected,
    pub reference: Option<&'a Collected>,
    pub classes: &'a [String],
    pub figures: &'a Figures,
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

    /// The smallest false discovery rate at which the image of a row counts as unknown; none where it is not under
    /// test.
    pub fn q_value(&self, row: &Row<'_>) -> Option<f32> {
        self.figures.get::<Strangeness>()?.q_value(row.image)
    }

    /// The label of a row: the name of its class, or the label itself where it is no class.
    pub fn label(&self, row: u32) -> Option<&'a str> {
        let class = self.collected.row(row as usize)?.label;
        class.map(|class| self.class(class)).or_else(|| self.collected.foreign_labels.of(row))
    }
}

/// A name from outside as it stands in a sentence.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", shown(name))
}
