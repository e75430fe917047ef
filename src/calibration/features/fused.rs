//! Scores that need more than logits: the distance to the nearest prototype, fused with what features say.

use std::sync::Arc;

use super::early::EarlyScore;
use super::unknown::UnknownScore;
use crate::score::{RowOutput, Score};

/// One of [`Score::MdsEarly`], [`Score::MdsUnknown`] and [`Score::MdsEarlyUnknown`].
///
/// Each value becomes the logarithm of the share of training rows with at most that value, and these are added
/// (Fisher's combination of p-values).
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureScore {
    early: Arc<EarlyScore>,
    counts_early: bool,
    unknown: Option<UnknownScore>,
}

impl FeatureScore {
    /// MDS with these. MDS's ranks are those that `early` knows.
    pub(super) fn new(early: &Arc<EarlyScore>, counts_early: bool, unknown: Option<UnknownScore>) -> Self {
        Self { early: Arc::clone(early), counts_early, unknown }
    }

    /// What it knows of training rows.
    #[doc(hidden)]
    pub fn early(&self) -> &EarlyScore {
        &self.early
    }

    /// The score of a row; higher is more in-distribution, at most 0. Not finite where logits or features are not, or
    /// where there are no features.
    pub fn of(&self, output: RowOutput<'_>) -> f32 {
        let mds = f64::from(Score::Mds.of_logits(output.logits));
        let Some(features) = output.features else { return f32::NAN };
        let early = self.counts_early.then(|| self.early.usualness(features));
        let unknown = self.unknown.as_ref().map(|unknown| unknown.ln_share(features));
        // A rank is finite where its value is not.
        if [Some(mds), early, unknown].into_iter().flatten().any(|value| !value.is_finite()) {
            return f32::NAN;
        }
        let ranks = self.early.mds_ranks().of(mds) + early.map_or(0.0, |early| self.early.early_ranks().of(early));
        (ranks + unknown.unwrap_or(0.0)) as f32
    }
}

#[cfg(test)]
#[path = "fused_tests.rs"]
mod tests;
