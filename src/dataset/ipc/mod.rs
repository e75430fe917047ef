//! Arrow IPC files and streams as record batches.

mod check;
mod file;
mod message;
mod stream;

pub(super) use self::file::ArrowFile;
pub(super) use self::stream::Stream;
