//! Scores image datasets with DisMax networks.

pub mod error;
pub mod head;
pub mod loss;
pub mod network;

pub use error::{Error, Result, RowError, RowErrorCode};
