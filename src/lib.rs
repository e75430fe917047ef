//! Scores image datasets with DisMax networks.

pub mod cancel;
pub mod error;
pub mod head;
pub mod loss;
pub mod network;
pub mod train;

pub use error::{Error, Result, RowError, RowErrorCode};
