//! The `dismax` command as its users meet it: what it prints, writes and returns.

mod interrupt;
mod refusals;
mod scoring;
mod support;
mod whole_run;
