//! Coordinators and workers as processes of this machine. One program, since each links DataFusion.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a query that fails is a failed test")]

#[path = "../../../tests/common/mod.rs"]
mod common;
mod faults;
mod queries;
mod runs;
#[path = "../../../udfs/tests/sql/shapes.rs"]
mod shapes;
mod support;
