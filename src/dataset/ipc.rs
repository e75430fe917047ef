//! Arrow IPC files and streams as record batches.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::Format;
use super::batches::Batches;
use super::format::MAGIC_BYTES;
use super::guard::guarded;
use crate::{Error, Result};

/// A stream whose schema has been read and whose batches have not.
#[derive(Debug)]
pub(super) struct Stream {
    reader: StreamReader<Box<dyn Read + Send>>,
    /// Whether the bytes ended before the reader had what it asked for. After the end-of-stream marker it asks no more.
    ran_dry: Arc<AtomicBool>,
}

impl Stream {
    pub(super) fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }
}

/// Remembers whether somebody asked for more than there was.
struct Watched<R> {
    reader: R,
    ran_dry: Arc<AtomicBool>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.ran_dry.store(true, Ordering::Relaxed);
        }
        Ok(count)
    }
}

/// Schema of a file in the format with a footer. The number of rows does not stand there.
pub(super) fn file_header(path: &Path) -> Result<SchemaRef> {
    Ok(open_file(path, None)?.schema())
}

/// The batches of a file with a footer, one after the other, as long as they were written.
pub(super) fn file_batches(path: &Path, projection: Option<&[usize]>) -> Result<Batches> {
    let origin = path.display().to_string();
    let mut reader = open_file(path, projection)?;
    Ok(Box::new(iter::from_fn(move || {
        let batch = guarded(|| reader.next().transpose());
        batch.map_err(|error| damaged(&origin, &error)).transpose()
    })))
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
    let ran_dry = Arc::new(AtomicBool::new(false));
    let whole = Watched { reader: Cursor::new(start).chain(reader), ran_dry: Arc::clone(&ran_dry) };
    let reader: Box<dyn Read + Send> = Box::new(whole);
    match guarded(|| StreamReader::try_new(reader, None)) {
        Ok(reader) => Ok(Stream { reader, ran_dry }),
        Err(error) => Err(damaged(origin, &error)),
    }
}

/// The batches of a stream. All columns are decoded, then those of the projection are kept.
///
/// The format lets a writer end a stream by just closing it, but then nobody can tell the end from a writer that died:
/// without the end-of-stream marker, which every usual writer sends, the last item is an error.
pub(super) fn stream_batches(origin: &str, stream: Stream, projection: Option<&[usize]>) -> Batches {
    let origin = origin.to_string();
    let projection = projection.map(<[usize]>::to_vec);
    let Stream { mut reader, ran_dry } = stream;
    let mut ended = false;
    Box::new(iter::from_fn(move || {
        if ended {
            return None;
        }
        let kept = guarded(|| match (reader.next().transpose()?, &projection) {
            (Some(batch), Some(columns)) => batch.project(columns).map(Some),
            (batch, _) => Ok(batch),
        });
        ended = !matches!(kept, Ok(Some(_)));
        match kept {
            Ok(None) if ran_dry.load(Ordering::Relaxed) => Some(Err(cut_off(&origin))),
            kept => kept.map_err(|error| damaged(&origin, &error)).transpose(),
        }
    }))
}

fn cut_off(origin: &str) -> Error {
    Error::data(
        origin,
        "this Arrow stream stops without its end-of-stream marker: rows may be missing; let what writes it finish and close \
         the stream (in a shell, `set -o pipefail` shows whether it failed)",
    )
}

fn open_file(path: &Path, projection: Option<&[usize]>) -> Result<FileReader<BufReader<File>>> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    guarded(|| FileReader::try_new(BufReader::new(file), projection.map(<[usize]>::to_vec)))
        .map_err(|error| damaged(&path.display().to_string(), &error))
}

fn damaged(origin: &str, error: &ArrowError) -> Error {
    Error::data(origin, format!("this Arrow data is incomplete or damaged ({error}); write or download it again"))
}
