//! How good class probabilities and out-of-distribution scores are. Pure arithmetic on slices, sums in f64.
//!
//! - [`LabelledLogits`]: logits with labels, checked once; accuracy, NLL and Brier score of it.
//! - [`Reliability`]: reliability bins and what is computed from them: ECE, MCE, over-confidence, class-wise and adaptive
//!   errors.
//! - [`ClassificationMetrics`]: all of these at one temperature, as one record.
//! - [`OodMetrics`]: AUROC, AUPR, FPR95 and detection accuracy of in-distribution scores.
//! - [`Roc`]: AUROC, average precision and FPR of any score that should rank positive rows above negative ones.
//! - [`share_interval`]: how sure a figure is.
//!
//! Shares and rates lie in [0, 1]; NLL is in nats. The figure to report for calibration is the ECE (15 equal-width,
//! right-closed bins of the predicted class's confidence); the others are for those who know why they want them.

mod bootstrap;
mod calibration;
mod classification;
mod interval;
mod labelled;
mod ood;
pub(crate) mod proper;
mod quantiles;
mod roc;

#[doc(hidden)]
pub use bootstrap::ece_interval;
#[doc(hidden)]
pub use calibration::ReliabilitySums;
#[doc(hidden)]
pub use calibration::class_wise_ece;
pub use calibration::{DEFAULT_BINS, Reliability, ReliabilityBin, ece};
pub(crate) use calibration::{Sums, bin_of, equal_width_edges};
pub use classification::ClassificationMetrics;
pub use interval::{Interval, share_interval};
pub use labelled::LabelledLogits;
pub use ood::OodMetrics;
#[doc(hidden)]
pub use quantiles::percentile_of_sorted;
pub use roc::Roc;
