//! Queries through a real session: plans, counts, answers, errors. One program, since each links DataFusion.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a query that fails is a failed test")]

mod aggregates;
mod behaviour;
#[path = "../../../tests/common/mod.rs"]
mod common;
mod filter;
mod inputs;
mod logic;
#[cfg(feature = "codec")]
mod portable_plans;
mod score_once;
mod shapes;
mod statements;
mod support;
