//! Scores image datasets with DisMax networks.

pub mod calibration;
pub mod cancel;
pub mod charts;
pub mod columns;
pub mod dataset;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod head;
pub mod image;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod network;
mod parallel;
pub mod score;
pub mod scoring;
pub mod stage;
pub mod train;

pub use device::Device;
pub use error::{Error, Result, RowError, RowErrorCode};
