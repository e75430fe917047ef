//! How good class probabilities and out-of-distribution scores are. Pure arithmetic on slices, sums in f64.
//!
//! - [`LabelledLogits`]: logits with labels, checked once; accuracy, NLL and Brier score of it ([`proper`]).
//! - [`calibration`]: reliability bins and what is computed from them: ECE, MCE, over-confidence, class-wise and adaptive errors.
//! - [`classification`]: all of these at one temperature, as one record.
//! - [`ood`]: AUROC, AUPR, FPR95 and detection accuracy of in-distribution scores.
//! - [`roc`]: AUROC, average precision and FPR of any score that should rank positive rows above negative ones.
//! - [`bootstrap`], [`interval`], [`quantiles`]: how sure a figure is.
//!
//! Shares and rates lie in [0, 1]; NLL is in nats. The figure to report for calibration is the ECE (15 equal-width,
//! right-closed bins of the predicted class's confidence); the others are for those who know why they want them.

pub mod bootstrap;
pub mod calibration;
pub mod classification;
pub mod interval;
mod labelled;
pub mod ood;
pub mod proper;
pub mod quantiles;
pub mod roc;

pub use bootstrap::ece_interval;
pub use calibration::{DEFAULT_BINS, Reliability, ReliabilityBin, ReliabilitySums};
pub use classification::ClassificationMetrics;
pub use interval::{Interval, share_interval};
pub use labelled::LabelledLogits;
pub use ood::OodMetrics;
pub use roc::Roc;
