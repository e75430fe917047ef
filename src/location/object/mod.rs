//! Objects: `s3://`, `gs://`, `az://`, `http(s)://` and `hf://datasets/`.

mod address;
mod aws_files;
mod fault;
mod find;
mod folder;
mod one;
mod reader;
mod runtime;
mod store;
mod write;

pub(super) use self::address::address_and_pattern;
pub(super) use self::find::{Hit, find};
pub(super) use self::folder::Listed;
pub use self::folder::ObjectFolder;
pub use self::one::Object;
pub(super) use self::reader::ObjectReader;
#[cfg(feature = "delta")]
pub use self::runtime::blocking;
pub use self::store::store_of;
pub(super) use self::write::ObjectUpload;
