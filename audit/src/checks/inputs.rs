//! What checks look at.

use super::divisions::Division;
use crate::collect::Collected;
use crate::known_unknown::KnownUnknown;
use crate::need::Need;
use crate::novelty::FeatureFile;
use crate::thumbnails::Thumbnails;
use dismax::calibration::{Calibration, FeatureStatistics};
use dismax::cancel::Cancel;

/// What was collected of both datasets, and what it is judged by.
pub(crate) struct Inputs<'a> {
    pub collected: &'a Collected,
    pub reference: Option<&'a Collected>,
    /// Ways in which rows are divided into groups.
    pub divisions: Vec<Division>,
    /// The model's classes, or the names of the labels where there is no model.
    pub classes: &'a [String],
    /// The model's; none without a model.
    pub calibration: Option<&'a Calibration>,
    /// What the model keeps of the features of its training and calibration images; none where it keeps nothing.
    pub statistics: Option<&'a FeatureStatistics>,
    /// Features of the images with a prediction, in their order; none where the network gave none.
    pub features: Option<&'a mut FeatureFile>,
    /// How many of these the head sees: the last ones.
    pub head_features: usize,
    /// What is known of unknown images; none where nothing is.
    pub known_unknown: Option<&'a KnownUnknown>,
    /// False discovery rate that is asked for.
    pub fdr: f64,
    pub thumbnails: &'a mut Thumbnails,
    /// Those of the reference; none without one.
    pub reference_thumbnails: Option<&'a mut Thumbnails>,
    pub cancel: &'a Cancel,
}

impl<'a> Inputs<'a> {
    /// Whether everything is there that a check needs.
    pub fn have(&self, needs: &[Need]) -> bool {
        needs.iter().all(|need| match need {
            Need::Model => self.calibration.is_some(),
            Need::Labels => has_labels(self.collected),
            Need::KnownLabels => self.calibration.is_some() || self.reference.is_some_and(has_labels),
            Need::Reference => self.reference.is_some(),
        })
    }

    /// The model's calibration, for checks that need a model.
    pub fn model(&self) -> &'a Calibration {
        self.calibration.expect("a check that needs a model runs with one")
    }
}

/// Whether a row has a label that is a class.
fn has_labels(collected: &Collected) -> bool {
    collected.rows().any(|row| row.label.is_some())
}
