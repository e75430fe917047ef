//! Training against the reference's values; `tests/golden/README.md` of the repository describes them.

#[path = "../../../tests/common/mod.rs"]
mod common;

mod head;
mod network;
mod options;
