//! The `dismax` command as its users meet it: what it prints, writes and returns.

mod audit;
mod embeddings;
mod filter;
mod gate;
mod interrupt;
mod names;
mod packings;
mod recipes;
mod refusals;
mod scoring;
mod sql;
mod sql_files;
mod support;
mod whole_run;
