//! Arrow IPC files and streams as record batches.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::Format;
use super::format::MAGIC_BYTES;
use super::reader::Batches;
use crate::{Error, Result};

/// A stream whose schema has been read and whose batches have not.
pub(super) type Stream = StreamReader<Box<dyn Read + Send>>;

/// Schema of a file in the format with a footer. The number of rows does not stand there.
pub(super) fn file_header(path: &Path) -> Result<SchemaRef> {
    Ok(open_file(path, None)?.schema())
}

/// The batches of a file with a footer, one after the other, as long as they were written.
pub(super) fn file_batches(path: &Path, projection: Option<&[usize]>) -> Result<Batches> {
    let origin = path.display().to_string();
    let reader = open_file(path, projection)?;
    Ok(Box::new(reader.map(move |batch| batch.map_err(|error| damaged(&origin, &error)))))
}

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
        Format::IpcStream => {}
        Format::Parquet => {
            return Err(Error::data(origin, "is Parquet, which cannot be read from a stream; name the file instead"));
        }
        Format::IpcFile => {
            return Err(Error::data(
                origin,
                "is an Arrow IPC file, which cannot be read from a stream; name the file or write the stream format",
            ));
        }
    }
    let whole: Box<dyn Read + Send> = Box::new(Cursor::new(start).chain(reader));
    StreamReader::try_new(whole, None).map_err(|error| damaged(origin, &error))
}

/// The batches of a stream. All columns are decoded, then those of the projection are kept.
pub(super) fn stream_batches(origin: &str, stream: Stream, projection: Option<&[usize]>) -> Batches {
    let origin = origin.to_string();
    let projection = projection.map(<[usize]>::to_vec);
    Box::new(stream.map(move |batch| {
        batch
            .and_then(|batch| match &projection {
                Some(columns) => batch.project(columns),
                None => Ok(batch),
            })
            .map_err(|error| damaged(&origin, &error))
    }))
}

fn open_file(path: &Path, projection: Option<&[usize]>) -> Result<FileReader<BufReader<File>>> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    FileReader::try_new(BufReader::new(file), projection.map(<[usize]>::to_vec))
        .map_err(|error| damaged(&path.display().to_string(), &error))
}

fn damaged(origin: &str, error: &ArrowError) -> Error {
    Error::data(origin, format!("this Arrow data is incomplete or damaged ({error}); write or download it again"))
}
