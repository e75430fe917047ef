//! The streaming stage: images in, logits out, in order, with bounded memory.
//!
//! A [`Stage`] owns a model and a pool of threads that decode and score. On a CPU each worker has a network of its own.
//! For GPUs all workers together fill slots of page-locked memory, which two threads for each GPU send through it. Any
//! number of streams share the pool. A stream keeps a fixed number of items in flight and yields them in order.
//!
//! An item is the [`Images`](crate::dataset::Images) or [`Embeddings`](crate::dataset::Embeddings) of some rows
//! together with a value of the caller's, such as the record batch they come from. What comes back is that value and a
//! [`Scored`]: the logits of each row, or why it has none. [`Stage::scan`] does this for a whole dataset. An
//! [`Observer`] sees each image while it is decoded; where only it is of interest, [`Decoders`] show it the images of a
//! dataset without a network.
//!
//! Calibration is not applied here: [`Columns`](crate::columns::Columns) and
//! [`Calibration::apply`](crate::calibration::Calibration::apply) turn logits into probabilities and flags.

mod accelerator;
mod cuda;
mod decoders;
#[cfg(test)]
mod device_tests;
mod item;
mod joined;
mod observer;
mod options;
mod pass_rows;
mod pool;
mod reading;
mod scan;
mod scanner;
mod scored;
mod slots;
mod stats;
mod stream;
mod worker;

pub use self::decoders::{DecodeOptions, Decoded, Decoders};
pub use self::observer::{Observed, ObservedEmbedding, Observer, WithFeatures};
pub use self::options::StageOptions;
pub use self::pool::Stage;
pub use self::scanner::{PortableObserver, ScannedChunk, Scanner};
pub use self::scored::Scored;
#[doc(hidden)]
pub use self::scored::{ScoredRows, Timing};
pub use self::stats::StageStats;
pub use self::stream::ScoreStream;
