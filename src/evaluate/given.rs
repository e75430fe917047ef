//! Scores of a dataset's rows that need features.

use crate::calibration::{FeatureScore, FeatureStatistics};
use crate::error::Result;
use crate::score::Score;

/// A score that needs features.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub score: Score,
    pub by: FeatureScore,
    /// Its values for rows with a label and for the others.
    pub values: [Vec<f32>; 2],
}

impl Given {
    /// All that the model can give.
    pub fn all(statistics: &FeatureStatistics) -> Result<Vec<Self>> {
        let can = |score: &Score| !score.needs_unknown() || statistics.unknown().is_some();
        let scores = Score::ALL.into_iter().filter(can);
        let given = scores.map(|score| {
            let by = statistics.feature_score(score)?;
            Ok(by.map(|by| Self { score, by, values: Default::default() }))
        });
        given.filter_map(Result::transpose).collect()
    }
}
