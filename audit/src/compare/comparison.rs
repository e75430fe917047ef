//! `summary.json` of a comparison.

use serde::{Deserialize, Serialize};

use crate::kind::Kind;

/// What changed from an older to a newer audit. As JSON it has these fields under these names; they stay.
///
/// A finding stays where the newer audit has one of the same kind about the same image; rows and files may have other
/// places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `dismax audit comparison`.
    pub format: String,
    /// Version of the layout.
    pub format_version: u32,
    /// Version of this crate.
    pub version: String,
    /// The older audit's folder.
    pub old: String,
    /// The newer audit's folder.
    pub new: String,
    /// Rows of the older audit.
    pub old_rows: u64,
    /// Rows of the newer audit.
    pub new_rows: u64,
    /// Changes of each kind; every kind is there.
    pub kinds: Vec<KindChange>,
    /// Figures of both, where both have them.
    pub figures: Vec<FigureChange>,
    /// What a reader should know before comparing.
    pub warnings: Vec<String>,
}

/// Findings of a kind in both audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindChange {
    /// The kind.
    pub kind: Kind,
    /// Findings of the older audit; none where it did not look for them.
    pub old: Option<u64>,
    /// Findings of the newer audit; none where it did not look for them.
    pub new: Option<u64>,
    /// Findings that only the newer has.
    pub appeared: u64,
    /// Findings that only the older has.
    pub gone: u64,
}

/// A figure of both audits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureChange {
    /// What it is.
    pub name: String,
    /// In the older audit.
    pub old: f64,
    /// In the newer audit.
    pub new: f64,
    /// Whether both are estimates whose 95 % intervals do not overlap.
    pub clear: bool,
}
