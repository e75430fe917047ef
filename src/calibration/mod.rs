//! What is fitted on held-out in-distribution rows after training: the temperature and the thresholds. Pure arithmetic
//! on slices.
//!
//! - [`fit_temperature`]: one scalar that makes the probabilities honest.
//! - [`ConformalScores`]: p-values and thresholds from the calibration rows' scores.
//! - [`MondrianScores`]: the same per predicted class.
//! - [`PredictionSets`]: which classes a row may have.
//! - [`benjamini_hochberg`] and [`q_values`]: which of many p-values to reject.
//! - [`FeatureStatistics`]: what is known of pooled features, and [`FeatureScore`], the scores that they make possible.
//!
//! Scores are in-distribution scores at temperature 1 ([`crate::score`]), so the fitted temperature never moves a
//! threshold.

mod conformal;
mod fdr;
mod features;
mod mondrian;
mod prediction_sets;
mod record;
mod temperature;

#[doc(hidden)]
pub use conformal::rows_to_flag;
pub use conformal::{ConformalScores, Verdict};
pub use fdr::{benjamini_hochberg, q_values};
pub(crate) use features::FeatureParts;
pub use features::{
    CalibrationFeatures, CalibrationRow, EarlyScore, ExampleDigest, FeatureMoments, FeatureScore, FeatureStatistics,
    LogRanks, UnknownExamples,
};
#[doc(hidden)]
pub use features::{Direction, Scatter};
pub use mondrian::MondrianScores;
pub use prediction_sets::{PredictionSets, SetFigures, SetThresholds};
pub use record::{Calibrated, Calibration, CalibrationOptions, CalibrationScores, Estimate};
pub use temperature::{Objective, Selection, TemperatureFit, TemperatureSearch, fit_temperature};
