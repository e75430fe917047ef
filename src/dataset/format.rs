//! Which of the three file formats bytes or a name stand for.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// A format that datasets are read from and written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC with a footer ("Feather version 2").
    IpcFile,
    /// Arrow IPC as a stream of messages.
    IpcStream,
}

/// Bytes that [`Format::of_start`] needs to see.
pub(super) const MAGIC_BYTES: usize = 8;

impl Format {
    /// The format that a file name's extension stands for: `parquet`/`pq`, `arrow`/`feather`/`ipc`, `arrows`.
    pub fn of_extension(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "arrow" | "feather" | "ipc" => Some(Self::IpcFile),
            "arrows" => Some(Self::IpcStream),
            _ => None,
        }
    }

    /// The format of a file, by its first bytes: names may lie, and Hugging Face's cache calls its streams `.arrow`.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
        let mut start = Vec::with_capacity(MAGIC_BYTES);
        file.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut start).map_err(|source| Error::io(path, source))?;
        Self::of_start(&path.display().to_string(), &start)
    }

    /// The format of bytes that begin with `start`; `origin` is named in errors.
    pub(super) fn of_start(origin: &str, start: &[u8]) -> Result<Self> {
        let refuse = |message: &str| Err(Error::data(origin, message));
        match start {
            [] => refuse("is empty: not even a header is there; was it written completely?"),
            [b'P', b'A', b'R', b'1', ..] => Ok(Self::Parquet),
            [b'P', b'A', b'R', b'E', ..] => refuse("is encrypted Parquet, which is not read"),
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Ok(Self::IpcFile),
            [0xFF, 0xFF, 0xFF, 0xFF, ..] => Ok(Self::IpcStream),
            [b'F', b'E', b'A', b'1', ..] => refuse("is Feather version 1; write it again as Feather 2 or Parquet"),
            _ => refuse("is neither Parquet nor Arrow IPC, the formats that are read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes() {
        assert_eq!(Format::of_start("x", b"PAR1....").ok(), Some(Format::Parquet));
        assert_eq!(Format::of_start("x", b"ARROW1\0\0").ok(), Some(Format::IpcFile));
        assert_eq!(Format::of_start("x", &[0xFF, 0xFF, 0xFF, 0xFF, 16, 0, 0, 0]).ok(), Some(Format::IpcStream));
        for start in [&b""[..], b"P", b"PARE", b"FEA1", b"id,label\n"] {
            let error = Format::of_start("some.file", start).expect_err("not readable").to_string();
            assert!(error.starts_with("some.file: is "), "{error}");
        }
    }

    #[test]
    fn extensions() {
        assert_eq!(Format::of_extension(Path::new("a/b.PARQUET")), Some(Format::Parquet));
        assert_eq!(Format::of_extension(Path::new("b.feather")), Some(Format::IpcFile));
        assert_eq!(Format::of_extension(Path::new("b.arrows")), Some(Format::IpcStream));
        assert_eq!(Format::of_extension(Path::new("b.csv")), None);
        assert_eq!(Format::of_extension(Path::new("parquet")), None);
    }
}
