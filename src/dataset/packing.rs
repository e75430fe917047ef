//! How rows are packed into the bytes of an input, by its first bytes: names may lie, and Hugging Face's cache calls
//! its streams `.arrow`.

use super::Format;
use crate::{Error, Result};

/// Bytes that [`Packing::of_start`] needs to see.
pub(super) const MAGIC_BYTES: usize = 512;
/// Where a tar file says that it is one.
const TAR_MAGIC_AT: usize = 257;

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// A table.
    Table(Format),
    /// Samples in a tar file, packed with gzip or not.
    Tar,
}

impl Packing {
    /// What bytes that begin with `start` are; `origin` is named in errors.
    pub fn of_start(origin: &str, start: &[u8]) -> Result<Self> {
        let refuse = |message: &str| Err(Error::data(origin, message));
        match start {
            [] => refuse("is empty: not even a header is there; was it written completely?"),
            [b'P', b'A', b'R', b'1', ..] => Ok(Self::Table(Format::Parquet)),
            [b'P', b'A', b'R', b'E', ..] => refuse("is encrypted Parquet, which is not read"),
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Ok(Self::Table(Format::IpcFile)),
            [0xFF, 0xFF, 0xFF, 0xFF, ..] => Ok(Self::Table(Format::IpcStream)),
            [b'F', b'E', b'A', b'1', ..] => refuse("is Feather version 1; write it again as Feather 2 or Parquet"),
            // What is in it shows when it is read.
            [0x1F, 0x8B, ..] => Ok(Self::Tar),
            _ if start.get(TAR_MAGIC_AT..TAR_MAGIC_AT + 5) == Some(b"ustar") => Ok(Self::Tar),
            _ => refuse(
                "is neither Parquet, Arrow IPC nor a tar file, the formats that are read; image files are read by their folder",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes() {
        let of = |start: &[u8]| Packing::of_start("x", start).ok();
        assert_eq!(of(b"PAR1...."), Some(Packing::Table(Format::Parquet)));
        assert_eq!(of(b"ARROW1\0\0"), Some(Packing::Table(Format::IpcFile)));
        assert_eq!(of(&[0xFF, 0xFF, 0xFF, 0xFF, 16, 0, 0, 0]), Some(Packing::Table(Format::IpcStream)));
        let mut tar = [0; MAGIC_BYTES];
        tar[TAR_MAGIC_AT..TAR_MAGIC_AT + 8].copy_from_slice(b"ustar\x0000");
        assert_eq!(of(&tar), Some(Packing::Tar));
        assert_eq!(of(&[0x1F, 0x8B, 8, 0]), Some(Packing::Tar));
        for start in [&b""[..], b"P", b"PARE", b"FEA1", b"id,label\n"] {
            let error = Packing::of_start("some.file", start).expect_err("not readable").to_string();
            assert!(error.starts_with("some.file: is "), "{error}");
        }
    }
}
