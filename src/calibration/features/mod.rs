//! What is known of the pooled features of training and calibration rows, and what that says of other rows.
//!
//! - [`FeatureMoments`] adds up what training rows have; they need not stay in memory.
//! - [`FeatureStatistics`] is what a model keeps: moments by predicted class, the calibration rows' features, and how
//!   scores of training rows are distributed.
//! - [`EarlyScore`] says how usual the features of a network's early stages are.
//! - [`UnknownExamples`] are images of known unknown kinds.
//! - [`FeatureScore`] turns them into the scores `mds+early`, `mds+unknown` and `mds+early+unknown`.

mod discriminant;
mod early;
mod examples;
mod fused;
mod moments;
mod ranks;
mod scatter;
mod statistics;
mod training;
mod unknown;

pub use discriminant::Direction;
pub use early::EarlyScore;
pub use examples::{ExampleDigest, UnknownExamples};
pub use fused::FeatureScore;
pub use moments::FeatureMoments;
pub use ranks::LogRanks;
pub use scatter::Scatter;
pub(crate) use statistics::FeatureParts;
pub use statistics::{CalibrationFeatures, CalibrationRow, FeatureStatistics};
