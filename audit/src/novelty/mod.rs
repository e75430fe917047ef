//! Conformal novelty detection: which of many rows are unlike the calibration rows, by pooled features of the network.
//! Arithmetic on slices and on a file of features; the check of unknown images asks [`detect`].

mod adadetect;
mod background;
mod conformal;
mod detection;
mod discriminant;
mod envelope;
mod feature_file;
mod moments;
mod reviewed;
mod share;
mod union_ranks;

pub(crate) use self::background::Background;
pub use self::detection::UnknownMethod;
pub(crate) use self::detection::{Detection, Features, Judged, detect};
pub(crate) use self::envelope::Envelope;
pub(crate) use self::feature_file::{FeatureFile, FeatureWriter};
pub(crate) use self::moments::Scatter;
pub(crate) use self::reviewed::Mark;
