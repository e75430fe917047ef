//! What a model knows of features, and what can be made of it.

use std::sync::Arc;

use super::Model;
use crate::calibration::{FeatureScore, FeatureStatistics, UnknownExamples};
use crate::error::{Error, Result};
use crate::score::Score;

impl Model {
    /// What is known of the features of its training and calibration rows; none for an imported model that was not
    /// calibrated with its training images.
    pub fn feature_statistics(&self) -> Option<&Arc<FeatureStatistics>> {
        self.contents.features.as_ref()
    }

    /// The same for what cannot do without; `what` names it, as the subject of a sentence.
    ///
    /// # Errors
    /// [`Error::NoTrainingFeatures`] where nothing is known.
    pub fn require_feature_statistics(&self, what: &str) -> Result<&Arc<FeatureStatistics>> {
        let missing = || Error::NoTrainingFeatures { path: self.path.clone(), what: what.to_owned() };
        self.contents.features.as_ref().ok_or_else(missing)
    }

    /// Number of the examples of unknown images that it keeps.
    pub fn unknown_examples(&self) -> u64 {
        self.feature_statistics().and_then(|statistics| statistics.unknown()).map_or(0, UnknownExamples::len)
    }

    /// What gives a score that needs features; none for a score of logits alone.
    ///
    /// # Errors
    /// [`Error::NoTrainingFeatures`] and [`Error::NoUnknownExamples`] where the model does not know what it needs.
    pub fn feature_score(&self, score: Score) -> Result<Option<FeatureScore>> {
        match score.needs_features() {
            true => self.require_feature_statistics(&format!("the score {score}"))?.feature_score(score),
            false => Ok(None),
        }
    }

    /// Takes what is known of the features of its training rows. Examples of unknown images stay. Calibrate afterwards.
    ///
    /// # Errors
    /// [`Error::Config`] for those of another network or of another number of classes.
    pub fn set_feature_statistics(&mut self, mut statistics: FeatureStatistics) -> Result<()> {
        let ours = (self.input().stages(), self.classes().len());
        if ours != (statistics.stages(), statistics.classes()) {
            return Err(Error::Config("the features are those of another network".into()));
        }
        let unknown = self.contents.features.as_ref().and_then(|before| before.unknown().cloned());
        if let Some(unknown) = unknown.filter(|_| statistics.unknown().is_none()) {
            statistics.set_unknown(Some(unknown))?;
        }
        self.contents.features = Some(Arc::new(statistics));
        Ok(())
    }

    /// Replaces the examples of unknown images, or forgets them. Calibrate afterwards.
    ///
    /// # Errors
    /// [`Error::NoTrainingFeatures`] where there is nothing to compare them with; otherwise as
    /// [`FeatureStatistics::set_unknown`].
    pub fn set_unknown_examples(&mut self, examples: Option<UnknownExamples>) -> Result<()> {
        self.require_feature_statistics("a comparison with examples of unknown images")?;
        let statistics = self.contents.features.as_mut().expect("they are required above");
        Arc::make_mut(statistics).set_unknown(examples)
    }
}
