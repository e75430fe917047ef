//! What a check is.

use std::collections::{BTreeSet, HashSet};

use super::figures::Figures;
use super::inputs::Inputs;
use crate::evidence::{Description, Evidence};
use crate::findings::Finding;
use crate::kind::Kind;
use crate::need::Need;
use crate::sections::Material;
use crate::view::{Section, Tile, Tone};
use dismax::error::Result;

/// What a check says of itself.
pub(crate) struct About {
    /// Name of its section in links.
    pub id: &'static str,
    pub title: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// How it answers, and from which paper.
    pub how: &'static str,
    /// What it cannot do without.
    pub needs: &'static [Need],
    /// Kinds of the findings that it makes.
    pub kinds: &'static [Kind],
}

impl About {
    /// The check's section with a sentence and nothing else yet.
    pub fn section(&self, tone: Tone, summary: String) -> Section {
        Section { question: self.question, ..Section::new(self.id, self.title, tone, summary, self.how) }
    }
}

/// A question that an audit asks of a dataset.
pub(crate) trait Check: Sync {
    fn about(&self) -> &'static About;

    /// Looks at the rows, and leaves findings, figures and warnings. Runs only where everything is there that it needs,
    /// after the checks before it.
    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()>;

    /// What is said of one of its findings.
    fn describe(&self, finding: &Finding, _evidence: &Evidence<'_>) -> Description {
        Description::new(finding.kind, String::new())
    }

    /// Its part of the page; none where it did not look.
    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>>;

    /// Its numbers at the top of the page.
    fn tiles(&self, _material: &Material<'_>) -> Vec<Tile> {
        Vec::new()
    }
}

/// Everything that was found out.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub findings: Vec<Finding>,
    /// Kinds of which there would be findings, had there been something to find.
    pub looked_for: BTreeSet<Kind>,
    pub figures: Figures,
    /// What a reader should know before trusting the figures.
    pub warnings: Vec<String>,
}

impl Found {
    /// Rows with a finding of a kind.
    pub fn rows_of(&self, kind: Kind) -> HashSet<u32> {
        self.findings.iter().filter(|finding| finding.kind == kind).map(|finding| finding.row).collect()
    }
}
