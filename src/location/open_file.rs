//! A file or an object that is read at any place.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

#[cfg(feature = "cloud")]
use super::object::ObjectReader;
use crate::error::{Error, Result};

/// An open file or object. Clones share it.
#[derive(Debug, Clone)]
pub struct OpenFile {
    bytes: Source,
    /// The first read that failed. Decoders in between keep the words of an error and lose what it was.
    failure: Arc<Mutex<Option<io::Error>>>,
}

#[derive(Debug, Clone)]
enum Source {
    File {
        file: Arc<File>,
        path: Arc<PathBuf>,
        length: u64,
    },
    #[cfg(feature = "cloud")]
    Object(Arc<ObjectReader>),
}

impl OpenFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn local(path: &Path) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(|source| Error::io(path, source))?;
        let (file, path) = (Arc::new(file), Arc::new(path.to_path_buf()));
        Ok(Self { bytes: Source::File { file, path, length }, failure: Arc::default() })
    }

    #[cfg(feature = "cloud")]
    pub(super) fn object(reader: ObjectReader) -> Self {
        Self { bytes: Source::Object(Arc::new(reader)), failure: Arc::default() }
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        match &self.bytes {
            Source::File { length, .. } => *length,
            #[cfg(feature = "cloud")]
            Source::Object(reader) => reader.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says which parts will be read, so that those of an object are fetched ahead, and nothing else is.
    pub fn will_read(&self, #[cfg_attr(not(feature = "cloud"), expect(unused_variables))] ranges: &[Range<u64>]) {
        match &self.bytes {
            Source::File { .. } => {}
            #[cfg(feature = "cloud")]
            Source::Object(reader) => reader.will_read(ranges),
        }
    }

    /// Says that everything will be read.
    pub fn will_read_all(&self) {
        self.will_read(std::slice::from_ref(&(0..self.len())));
    }

    /// The bytes of a part.
    ///
    /// # Errors
    /// A part that reaches over the end; the system's or the store's answer, which [`OpenFile::failure`] keeps.
    pub fn read_at(&self, start: u64, length: usize) -> io::Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = match &self.bytes {
            Source::File { file, .. } => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start).map(|()| Bytes::from(bytes))
            }
            #[cfg(feature = "cloud")]
            Source::Object(reader) => reader.read_at(start, length),
        };
        read.inspect_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(copy);
        })
    }

    /// The run's error, where a read failed: what a decoder says about the bytes it lacks does not count then.
    pub fn failure(&self) -> Option<Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(match &self.bytes {
            Source::File { path, .. } => Error::io(path.as_path(), failure),
            #[cfg(feature = "cloud")]
            Source::Object(reader) => Error::io(reader.url(), failure),
        })
    }

    /// Reads on from `start`.
    pub fn reader(&self, start: u64) -> BufReader<Sequential> {
        BufReader::new(Sequential { file: self.clone(), at: start })
    }
}

/// Goes through a file.
#[derive(Debug)]
pub struct Sequential {
    file: OpenFile,
    at: u64,
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.file.len().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = rest.min(buffer.len());
        buffer[..count].copy_from_slice(&self.file.read_at(self.at, count)?);
        self.at += count as u64;
        Ok(count)
    }
}
