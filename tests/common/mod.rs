//! Helpers that the integration tests share. Each test file uses some of them.
#![allow(dead_code, reason = "every test file compiles this module and uses its own part of it")]

pub mod golden;
