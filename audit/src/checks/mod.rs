//! What an audit looks at: a file or a folder for each check.
//!
//! A check says what it asks, how it answers and from which paper; it computes its figures, makes its findings and
//! shows both. One that is added has its file, its line in [`ALL`], a field in the summary for its figures and, where
//! its findings are of a new kind, that kind. The other checks are left alone.

mod calibration;
mod check;
mod class_accuracy;
mod class_balance;
mod coverage;
mod divisions;
mod drift;
mod duplicates;
mod estimated_accuracy;
mod figures;
mod files;
mod inputs;
mod labels;
mod map;
mod properties;
mod proportions;
mod rows;
mod slices;
mod spurious_correlations;
mod unknown;
mod unseen_labels;

pub use self::calibration::{CalibrationFigures, ConfidenceGap};
use self::check::Check;
pub(super) use self::check::Found;
pub use self::class_accuracy::{ClassAccuracy, ClassAccuracyFigures};
pub use self::class_balance::{ClassBalanceFigures, ClassShare};
pub use self::coverage::{Coverage, CoverageFigures};
pub(super) use self::divisions::divisions;
pub use self::drift::{DriftFigures, DriftTest, Quantity};
pub(super) use self::drift::{LARGE_PSI, MODERATE_PSI};
pub use self::estimated_accuracy::{AccuracyEstimate, EstimatedAccuracyFigures};
pub(super) use self::figures::Figures;
pub use self::files::{QualityFigures, RobustScale};
pub(super) use self::inputs::Inputs;
pub use self::labels::{ClassNoise, JointCell, LabelFigures};
pub use self::properties::Property;
pub use self::slices::{Slice, SliceFigures};
pub use self::spurious_correlations::{Association, PropertyCorrelation, SpuriousCorrelationFigures};
pub(super) use self::unknown::Strangeness;
pub use self::unknown::{Strangest, UnknownFigures};
pub use self::unseen_labels::{UnseenLabel, UnseenLabelFigures};
use super::evidence::{Description, Evidence};
use super::findings::{self, Finding};
use super::sections::Material;
use super::view::{Section, Tile};
use dismax::error::Result;

/// All checks in the order in which they look, and in which the page shows them.
const ALL: &[&dyn Check] = &[
    &unknown::Unknown,
    &labels::Labels,
    &unseen_labels::UnseenLabels,
    &class_balance::ClassBalance,
    &spurious_correlations::SpuriousCorrelations,
    &class_accuracy::ClassAccuracies,
    &calibration::Calibration,
    &coverage::SetCoverage,
    &estimated_accuracy::EstimatedAccuracy,
    &drift::Drift,
    &files::Files,
    &duplicates::Duplicates,
    &slices::Slices,
    &map::Map,
];

/// Lets every check look that has what it needs. The findings are sorted.
///
/// # Errors
/// Those of the checks, [`Error::Cancelled`](dismax::Error::Cancelled).
pub(super) fn look(inputs: &mut Inputs<'_>) -> Result<Found> {
    let mut found = Found::default();
    for check in ALL {
        inputs.cancel.check()?;
        if inputs.have(check.about().needs) {
            check.look(inputs, &mut found)?;
        }
    }
    findings::sort(&mut found.findings);
    Ok(found)
}

/// What is said of a finding.
pub(super) fn describe(finding: &Finding, evidence: &Evidence<'_>) -> Description {
    let check = ALL.iter().find(|check| check.about().kinds.contains(&finding.kind));
    check.expect("every kind belongs to a check").describe(finding, evidence)
}

/// The parts of the page.
pub(super) fn sections(material: &mut Material<'_>) -> Result<Vec<Section>> {
    ALL.iter().filter_map(|check| check.section(material).transpose()).collect()
}

/// The numbers at the top of the page.
pub(super) fn tiles(material: &Material<'_>) -> Vec<Tile> {
    ALL.iter().flat_map(|check| check.tiles(material)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::kind::Kind;

    #[test]
    fn every_kind_belongs_to_one_check_and_every_check_has_its_name() {
        let mut kinds: Vec<Kind> = ALL.iter().flat_map(|check| check.about().kinds.to_vec()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, Kind::ALL);
        let ids: HashSet<&str> = ALL.iter().map(|check| check.about().id).collect();
        assert_eq!(ids.len(), ALL.len());
        let ask = |check: &&dyn Check| check.about().question.ends_with('?') && !check.about().how.is_empty();
        assert!(ALL.iter().all(ask));
    }
}
