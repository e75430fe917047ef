//! Scores image datasets with DisMax networks.

pub mod calibration;
pub mod cancel;
pub mod dataset;
pub mod error;
pub mod head;
pub mod image;
pub mod loss;
pub mod metrics;
pub mod network;
pub mod score;
pub mod train;

pub use error::{Error, Result, RowError, RowErrorCode};
