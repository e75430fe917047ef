//! The `dismax` command.
fn main() {}
