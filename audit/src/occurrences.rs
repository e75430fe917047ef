//! How often each finding occurs: findings of two audits are the same where kind and image are.

use std::collections::HashMap;
use std::path::Path;

use super::kind::Kind;
use super::observer::ShortDigest;
use super::stored;
use dismax::cancel::Cancel;
use dismax::error::Result;

/// Findings by kind and image, wherever their rows lie.
#[derive(Debug, Default)]
pub(super) struct Occurrences(HashMap<(Kind, ShortDigest), u64>);

impl Occurrences {
    /// Those of the audit in `folder`.
    pub fn read(folder: &Path, cancel: &Cancel) -> Result<Self> {
        let mut occurrences = Self::default();
        stored::visit(folder, cancel, |finding| {
            *occurrences.0.entry((finding.kind, finding.digest)).or_default() += 1;
            Ok(())
        })?;
        Ok(occurrences)
    }

    /// Takes one occurrence away; false where none is left.
    pub fn take(&mut self, kind: Kind, digest: ShortDigest) -> bool {
        match self.0.get_mut(&(kind, digest)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_taken_as_often_as_it_occurs() {
        let mut left = Occurrences(HashMap::from([((Kind::Blurred, [0; 16]), 2)]));
        let taken: Vec<bool> = (0..3).map(|_| left.take(Kind::Blurred, [0; 16])).collect();
        assert_eq!(taken, [true, true, false]);
        assert!(!left.take(Kind::Blurred, [1; 16]));
    }
}
