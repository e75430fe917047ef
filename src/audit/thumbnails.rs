//! Thumbnails and names of all rows in a temporary file: which of them the report shows is known only at the end of the pass.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::text::clipped;
use crate::error::{Error, Result};

/// Most characters of a name that is kept.
const NAME: usize = 200;

/// What the report shows of a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shown {
    /// The name that the dataset gives the image.
    pub name: Option<String>,
    /// JPEG; none where the image cannot be decoded.
    pub jpeg: Option<Vec<u8>>,
}

/// Writes one row after the other. The file has no name and is gone with the last handle.
#[derive(Debug)]
pub(super) struct ThumbnailWriter {
    file: BufWriter<File>,
    folder: PathBuf,
    /// Where each row begins.
    starts: Vec<u64>,
    end: u64,
}

impl ThumbnailWriter {
    /// A file in `folder`, which should be on a disk rather than in memory.
    pub fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| Error::io(folder, error))?;
        Ok(Self { file: BufWriter::new(file), folder: folder.to_path_buf(), starts: Vec::new(), end: 0 })
    }

    /// Appends a row. A name may have any length; 200 characters of it are kept.
    pub fn push(&mut self, name: Option<&str>, jpeg: Option<&[u8]>) -> Result<()> {
        let (name, jpeg) = (clipped(name.unwrap_or_default(), NAME), jpeg.unwrap_or_default());
        // At most 200 characters of 4 bytes.
        let length = (name.len() as u16).to_le_bytes();
        self.starts.push(self.end);
        for part in [&length[..], name.as_bytes(), jpeg] {
            self.file.write_all(part).map_err(|error| Error::io(&self.folder, error))?;
            self.end += part.len() as u64;
        }
        Ok(())
    }

    /// No more rows.
    pub fn finish(self) -> Result<Thumbnails> {
        let Self { file, folder, starts, end } = self;
        let file = file.into_inner().map_err(|error| Error::io(&folder, error.into_error()))?;
        Ok(Thumbnails { file, folder, starts, end })
    }
}

/// Reads rows back.
#[derive(Debug)]
pub(super) struct Thumbnails {
    file: File,
    folder: PathBuf,
    starts: Vec<u64>,
    end: u64,
}

impl Thumbnails {
    /// What was written for a row; nothing for a row that there is not.
    pub fn get(&mut self, row: usize) -> Result<Shown> {
        let Some(&start) = self.starts.get(row) else { return Ok(Shown::default()) };
        let end = self.starts.get(row + 1).copied().unwrap_or(self.end);
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| (&mut self.file).take(end - start).read_to_end(&mut bytes))
            .map_err(|error| Error::io(&self.folder, error))?;
        let cut_short = || Error::Internal("a thumbnail was not written whole".into());
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or_else(cut_short)?;
        let (name, jpeg) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or_else(cut_short)?;
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(Shown {
            name: Some(name).filter(|name| !name.is_empty()),
            jpeg: Some(jpeg.to_vec()).filter(|jpeg| !jpeg.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_any_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = ThumbnailWriter::create(folder.path()).expect("a file");
        let long = "ü".repeat(1_000_000);
        for (name, jpeg) in [(None, Some(&b"one"[..])), (Some(long.as_str()), None), (Some("c"), Some(b"three"))] {
            writer.push(name, jpeg).expect("written");
        }
        let mut thumbnails = writer.finish().expect("written");
        let shown = |name: Option<&str>, jpeg: Option<&[u8]>| Shown {
            name: name.map(str::to_owned),
            jpeg: jpeg.map(<[u8]>::to_vec),
        };
        assert_eq!(thumbnails.get(2).expect("a row"), shown(Some("c"), Some(b"three")));
        assert_eq!(thumbnails.get(0).expect("a row"), shown(None, Some(b"one")));
        let second = thumbnails.get(1).expect("a row");
        assert_eq!((second.name.map(|name| name.chars().count()), second.jpeg), (Some(200), None));
        assert_eq!(thumbnails.get(3).expect("no row"), Shown::default());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "the file has no name");
    }
}
