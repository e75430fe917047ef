//! The review while findings are written or read back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::acceptances::{Acceptance, Acceptances};
use crate::findings::Standing;
use crate::kind::Kind;
use crate::observer::ShortDigest;
use crate::occurrences::Occurrences;
use crate::stored::StoredFinding;
use dismax::cancel::Cancel;
use dismax::error::Result;

/// What findings are compared with. Those that either side knows do not count for a [`gate`](crate::gate()).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReviewOptions {
    /// An earlier audit's folder: a finding that it has as well, of the same kind about the same image, is not new.
    pub baseline: Option<PathBuf>,
    /// Findings that were looked at and accepted.
    pub accepted: Option<Acceptances>,
}

/// Findings as they stand after the review; none of this is there for an audit without one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReviewFigures {
    /// The earlier audit's folder; none without.
    pub baseline: Option<String>,
    /// Findings that the earlier audit lacks, by kind, kinds without such left out; none without an earlier audit.
    pub new: Option<BTreeMap<Kind, u64>>,
    /// Accepted findings by kind; kinds without such are left out.
    pub accepted: BTreeMap<Kind, u64>,
    /// Acceptances whose time is over: their findings count again.
    pub expired: Vec<Acceptance>,
}

/// Tells how findings stand, one after the other.
#[derive(Debug)]
pub(crate) struct Reviewer<'a> {
    baseline: Option<Occurrences>,
    accepted: Option<&'a Acceptances>,
    figures: ReviewFigures,
}

impl<'a> Reviewer<'a> {
    /// Reads the earlier audit.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn open(options: &'a ReviewOptions, cancel: &Cancel) -> Result<Self> {
        let baseline = options.baseline.as_ref().map(|folder| Occurrences::read(folder, cancel)).transpose()?;
        let figures = ReviewFigures {
            baseline: options.baseline.as_ref().map(|folder| folder.display().to_string()),
            new: options.baseline.as_ref().map(|_| BTreeMap::new()),
            accepted: BTreeMap::new(),
            expired: options.accepted.as_ref().map(|accepted| accepted.expired().to_vec()).unwrap_or_default(),
        };
        Ok(Self { baseline, accepted: options.accepted.as_ref(), figures })
    }

    /// How the next finding stands. Each is to be asked about once: the earlier audit's are used up.
    pub fn standing(&mut self, kind: Kind, digest: &ShortDigest) -> Standing {
        let accepted = self.accepted.and_then(|accepted| accepted.find(kind, digest));
        if accepted.is_some() {
            *self.figures.accepted.entry(kind).or_default() += 1;
        }
        let new = self.baseline.as_mut().map(|baseline| !baseline.take(kind, *digest));
        if let (Some(true), Some(counts)) = (new, &mut self.figures.new) {
            *counts.entry(kind).or_default() += 1;
        }
        Standing { accepted: accepted.map(Acceptance::to_string), new }
    }

    /// How the next finding of an audit on disk stands. Where there is nothing to compare it with, what the audit wrote
    /// counts.
    pub fn of_stored(&mut self, finding: &StoredFinding<'_>) -> Standing {
        let Standing { accepted, new } = self.standing(finding.kind, &finding.digest);
        Standing {
            accepted: match self.accepted {
                Some(_) => accepted,
                None => finding.accepted.map(str::to_owned),
            },
            new: new.or(finding.new),
        }
    }

    /// The figures; none where nothing was to be compared with.
    pub fn finish(self) -> Option<ReviewFigures> {
        (self.accepted.is_some() || self.baseline.is_some()).then_some(self.figures)
    }
}
