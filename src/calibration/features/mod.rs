//! What is known of the pooled features of training and calibration rows, and what that says of other rows.
//!
//! - [`FeatureMoments`] adds up what training rows have; they need not stay in memory.
//! - [`FeatureStatistics`] is what a model keeps: moments by predicted class, the calibration rows' features, and how
//!   scores of training rows are distributed.
//! - [`EarlyScore`] turns them into the score `mds+early`.

mod early;
mod moments;
mod ranks;
mod statistics;
mod training;

pub use early::EarlyScore;
pub use moments::FeatureMoments;
pub use ranks::LogRanks;
pub(crate) use statistics::FeatureParts;
pub use statistics::{CalibrationFeatures, CalibrationRow, FeatureStatistics};
