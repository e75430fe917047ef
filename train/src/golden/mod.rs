//! Training against the reference's values; `tests/golden/README.md` of the repository describes them.

#[path = "../../../tests/common/mod.rs"]
pub(crate) mod common;

mod head;
mod network;
mod options;

pub(crate) use self::network::unit as made_up;
