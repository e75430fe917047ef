//! Scores image datasets with DisMax networks.

pub mod calibration;
pub mod error;
pub mod metrics;
pub mod score;

pub use error::{Error, Result, RowError, RowErrorCode};
