//! Why a row is removed.

use crate::kind::Kind;
use crate::observer::ShortDigest;
use crate::revisit::Place;

/// Why a row is removed.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// The audit's digest of its image.
    pub digest: Option<ShortDigest>,
    /// Kinds of findings, and what speaks for each.
    pub findings: Vec<(Kind, String)>,
    /// The row that stays in its place, where it is a copy.
    pub kept: Option<Place>,
}
