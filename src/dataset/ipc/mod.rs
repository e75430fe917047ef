//! Arrow IPC files and streams as record batches.

mod check;
mod file;
mod message;
mod stream;

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

pub(super) use self::file::ArrowFile;
pub(super) use self::stream::Stream;
use super::Format;
use super::format::MAGIC_BYTES;
use crate::{Error, Result};

/// Opens a file that holds a stream.
pub(super) fn open_stream_file(path: &Path) -> Result<Stream> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    open_stream(&path.display().to_string(), Box::new(BufReader::new(file)))
}

/// Reads a stream's schema. `origin` is named in errors.
pub(super) fn open_stream(origin: &str, mut reader: Box<dyn Read + Send>) -> Result<Stream> {
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    reader
        .by_ref()
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(|source| Error::Io { path: origin.into(), source })?;
    match Format::of_start(origin, &start)? {
        Format::IpcStream => Stream::open(origin, Box::new(Cursor::new(start).chain(reader))),
        Format::Parquet => {
            Err(Error::data(origin, "is Parquet, which cannot be read from a stream; name the file instead"))
        }
        Format::IpcFile => Err(Error::data(
            origin,
            "is an Arrow IPC file, which cannot be read from a stream; name the file or write the stream format",
        )),
    }
}
