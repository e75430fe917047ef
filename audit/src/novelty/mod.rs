//! Conformal novelty detection: which of many rows are unlike the calibration rows, by pooled features of the network.
//! Arithmetic on slices; what it is used for is the check of unknown images.

mod conformal;
mod discriminant;
mod envelope;
mod feature_file;
mod moments;
mod share;
mod union_ranks;
