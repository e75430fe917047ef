//! How good a model is on labelled test rows, and how well it tells other datasets apart from them.
//!
//! [`DatasetLogits`] streams a dataset through a [`crate::stage::Stage`] and keeps the logits; [`Evaluation`] turns
//! those of the test set and of out-of-distribution sets into figures, of which the crate `dismax-charts` makes
//! pictures.

mod features;
mod figures;
mod given;
mod histogram;
mod logits;

#[doc(hidden)]
pub use self::features::KeptFeatures;
pub use self::features::{training_features, unknown_examples};
#[doc(hidden)]
pub use self::figures::set_names;
pub use self::figures::{Evaluation, Flagged, InDistFigures, OodFigures};
pub use self::histogram::ScoreHistogram;
pub use self::logits::DatasetLogits;
