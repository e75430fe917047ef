//! Scores image datasets with DisMax networks.

pub mod error;

pub use error::{Error, Result, RowError, RowErrorCode};
