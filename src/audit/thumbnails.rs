//! Thumbnails, names and the hashes of windows of all rows in a temporary file: which of them are needed is known only at the end of
//! the pass.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::text::clipped;
use crate::error::{Error, Result};
use crate::image::{Inspection, PerceptualHash};

/// Most characters of a name that is kept.
const NAME: usize = 200;

/// Bytes of a hash.
const HASH: usize = size_of::<PerceptualHash>();

/// What is kept of a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shown {
    /// The name that the dataset gives the image.
    pub name: Option<String>,
    /// JPEG; none where the image cannot be decoded.
    pub jpeg: Option<Vec<u8>>,
    /// Perceptual hashes of the image's windows; none where it cannot be decoded.
    pub windows: Vec<PerceptualHash>,
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
    pub fn push(&mut self, name: Option<&str>, image: Option<&Inspection>) -> Result<()> {
        let name = clipped(name.unwrap_or_default(), NAME);
        let windows = image.map(|image| image.windows.concat()).unwrap_or_default();
        let jpeg = image.map(|image| image.thumbnail.as_slice()).unwrap_or_default();
        // At most 200 characters of 4 bytes, and 27 hashes.
        let lengths = [name.len() as u16, windows.len() as u16].map(u16::to_le_bytes);
        self.starts.push(self.end);
        for part in [lengths.as_flattened(), name.as_bytes(), &windows, jpeg] {
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
        let (name_length, rest) = bytes.split_first_chunk::<2>().ok_or_else(cut_short)?;
        let (windows_length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut_short)?;
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_length).into()).ok_or_else(cut_short)?;
        let (windows, jpeg) =
            rest.split_at_checked(u16::from_le_bytes(*windows_length).into()).ok_or_else(cut_short)?;
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(Shown {
            name: Some(name).filter(|name| !name.is_empty()),
            jpeg: Some(jpeg.to_vec()).filter(|jpeg| !jpeg.is_empty()),
            windows: windows.as_chunks::<HASH>().0.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection(seed: u8) -> Inspection {
        let data = (0..48).map(|value: u8| value.wrapping_mul(seed)).collect();
        let image = crate::image::Pixels { width: 4, height: 4, data };
        crate::image::Inspector::default().inspect(&image).expect("a whole image")
    }

    #[test]
    fn rows_come_back_in_any_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = ThumbnailWriter::create(folder.path()).expect("a file");
        let long = "ü".repeat(1_000_000);
        let (one, three) = (inspection(3), inspection(7));
        writer.push(None, Some(&one)).expect("written");
        writer.push(Some(&long), None).expect("written");
        writer.push(Some("c"), Some(&three)).expect("written");
        let mut thumbnails = writer.finish().expect("written");
        let shown = |name: Option<&str>, image: &Inspection| Shown {
            name: name.map(str::to_owned),
            jpeg: Some(image.thumbnail.clone()),
            windows: image.windows.clone(),
        };
        assert_eq!(thumbnails.get(2).expect("a row"), shown(Some("c"), &three));
        assert_eq!(thumbnails.get(0).expect("a row"), shown(None, &one));
        let second = thumbnails.get(1).expect("a row");
        assert_eq!((second.name.map(|name| name.chars().count()), second.jpeg), (Some(200), None));
        assert_eq!(thumbnails.get(3).expect("no row"), Shown::default());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "the file has no name");
    }
}
