//! Scores image datasets with DisMax networks.

pub mod error;
pub mod score;

pub use error::{Error, Result, RowError, RowErrorCode};
