//! Helpers that the integration tests share. Each test file uses some of them.
#![allow(dead_code, reason = "every test file compiles this module and uses its own part of it")]
#![allow(clippy::panic, reason = "a missing golden value is a broken test")]

pub mod bundles;
pub mod datasets;
pub mod delta;
pub mod golden;
pub mod models;
