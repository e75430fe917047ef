//! Conformal novelty detection: which of many rows are unlike the calibration rows, by pooled features of the network.
//! Arithmetic on slices and on a file of features; the check of unknown images asks [`detect`].

mod adadetect;
mod background;
mod conformal;
mod detection;
mod envelope;
mod feature_file;
mod judged;
mod reviewed;
mod share;
mod sums;
mod union_ranks;

pub(crate) use self::background::Background;
pub use self::detection::UnknownMethod;
pub(crate) use self::detection::{Detection, detect};
pub(crate) use self::envelope::Envelope;
pub(crate) use self::feature_file::{FeatureFile, FeatureWriter};
pub(crate) use self::judged::{Features, Judged};
pub(crate) use self::reviewed::Mark;
