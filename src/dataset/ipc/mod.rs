//! Arrow IPC files and streams as record batches.

mod file;
mod message;
mod stream;

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::convert::fb_to_schema;

pub(super) use self::file::ArrowFile;
pub(super) use self::stream::Stream;
use super::Format;
use super::batches::Batches;
use super::format::MAGIC_BYTES;
use super::guard::guarded;
use crate::{Error, Result};

/// Bytes that a record batch may take once decompressed: damaged lengths would take all memory there is.
const MAX_BATCH_BYTES: u64 = 8 << 30;

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

fn schema_of(schema: ipc::Schema<'_>) -> Result<Schema, ArrowError> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(ArrowError::IpcError("its numbers have the byte order of another kind of processor".into()));
    }
    guarded(|| Ok(fb_to_schema(schema)))
}

/// Checks that a message of the record batch `number` claims no more memory than a record batch may take.
fn require_claim(origin: &str, number: usize, message: &[u8]) -> Result<()> {
    let claimed = message::parse(message).and_then(|header| {
        let body_bytes = usize::try_from(header.bodyLength()).unwrap_or(usize::MAX);
        let body = message.len().checked_sub(body_bytes).map(|start| &message[start..]);
        message::claimed_bytes(&header, body.ok_or_else(|| ArrowError::IpcError("a message is cut off".into()))?)
    });
    match claimed.map_err(|error| damaged(origin, &error))? {
        claimed if claimed > MAX_BATCH_BYTES => Err(Error::data(
            origin,
            format!(
                "record batch {number} claims to hold {claimed} bytes once decompressed, more than the limit of {} GiB: it is \
                 damaged, or must be written again in smaller record batches",
                MAX_BATCH_BYTES >> 30
            ),
        )),
        _ => Ok(()),
    }
}

fn damaged(origin: &str, error: &ArrowError) -> Error {
    Error::data(origin, format!("this Arrow data is incomplete or damaged ({error}); write or download it again"))
}
