//! Names of all rows, thumbnails and the hashes of windows of all images in a temporary file: which of them are needed
//! is known only at the end of the pass.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::inspection::{Inspection, PerceptualHash};
use super::text::clipped;
use dismax::error::{Error, Result};

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

/// Writes one row after the other, each image once. The file has no name and is gone with the last handle.
#[derive(Debug)]
pub(super) struct ThumbnailWriter {
    file: BufWriter<File>,
    folder: PathBuf,
    end: u64,
    index: Index,
}

/// Where things begin in the file.
#[derive(Debug, Default)]
struct Index {
    /// Each row's name; [`NO_NAME`] without.
    names: Vec<u64>,
    /// Each row's image.
    image_of: Vec<u32>,
    images: Vec<u64>,
}

/// Stands for no name: no file is so long.
const NO_NAME: u64 = u64::MAX;

impl ThumbnailWriter {
    /// A file in `folder`, which should be on a disk rather than in memory.
    pub fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| Error::io(folder, error))?;
        let (file, folder) = (BufWriter::new(file), folder.to_path_buf());
        Ok(Self { file, folder, end: 0, index: Index::default() })
    }

    /// Appends a row. A name may have any length; 200 characters of it are kept. `image` counts the images from 0 in
    /// the order in which they first come; `inspection`, none where it cannot be decoded, is written then and left out
    /// where it comes again.
    pub fn push(&mut self, name: Option<&str>, image: u32, inspection: Option<&Inspection>) -> Result<()> {
        let known = self.index.images.len();
        if image as usize > known {
            return Err(Error::Internal(format!("thumbnail {image} comes after {known} others")));
        }
        if image as usize == known {
            self.index.images.push(self.end);
            let windows = inspection.map(|inspection| inspection.windows.concat()).unwrap_or_default();
            let jpeg = inspection.map(|inspection| inspection.thumbnail.as_slice()).unwrap_or_default();
            self.append(&windows)?;
            self.append(jpeg)?;
        }
        let name = clipped(name.unwrap_or_default(), NAME);
        self.index.image_of.push(image);
        self.index.names.push(if name.is_empty() { NO_NAME } else { self.end });
        if !name.is_empty() {
            self.append(name.as_bytes())?;
        }
        Ok(())
    }

    /// A part after its length.
    fn append(&mut self, part: &[u8]) -> Result<()> {
        let length = u32::try_from(part.len()).map_err(|_| Error::Internal("a thumbnail of 4 GiB".into()))?;
        let written = self.file.write_all(&length.to_le_bytes()).and_then(|()| self.file.write_all(part));
        written.map_err(|error| Error::io(&self.folder, error))?;
        self.end += size_of_val(&length) as u64 + u64::from(length);
        Ok(())
    }

    /// No more rows.
    pub fn finish(self) -> Result<Thumbnails> {
        let Self { file, folder, index, .. } = self;
        let file = file.into_inner().map_err(|error| Error::io(&folder, error.into_error()))?;
        Ok(Thumbnails { file: BufReader::new(file), folder, index })
    }
}

/// Reads rows back.
#[derive(Debug)]
pub(super) struct Thumbnails {
    file: BufReader<File>,
    folder: PathBuf,
    index: Index,
}

impl Thumbnails {
    /// What was written for a row; nothing for a row that there is not.
    pub fn get(&mut self, row: usize) -> Result<Shown> {
        let Some((&name, &image)) = self.index.names.get(row).zip(self.index.image_of.get(row)) else {
            return Ok(Shown::default());
        };
        let mut shown = Shown::default();
        if name != NO_NAME {
            let [name] = self.parts(name)?;
            shown.name = Some(String::from_utf8_lossy(&name).into_owned());
        }
        if let Some(&image) = self.index.images.get(image as usize) {
            let [windows, jpeg] = self.parts(image)?;
            shown.windows = windows.as_chunks::<HASH>().0.to_vec();
            shown.jpeg = Some(jpeg).filter(|jpeg| !jpeg.is_empty());
        }
        Ok(shown)
    }

    /// Parts that stand one after the other.
    fn parts<const N: usize>(&mut self, start: u64) -> Result<[Vec<u8>; N]> {
        let mut read = || -> std::io::Result<[Vec<u8>; N]> {
            self.file.seek(SeekFrom::Start(start))?;
            let mut parts = [const { Vec::new() }; N];
            for part in &mut parts {
                let mut length = [0; 4];
                self.file.read_exact(&mut length)?;
                part.resize(u32::from_le_bytes(length) as usize, 0);
                self.file.read_exact(part)?;
            }
            Ok(parts)
        };
        read().map_err(|error| Error::io(&self.folder, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection(seed: u8) -> Inspection {
        let data = (0..48).map(|value: u8| value.wrapping_mul(seed)).collect();
        let image = dismax::image::Pixels::new(4, 4, data);
        crate::inspection::Inspector::default().inspect(&image).expect("a whole image")
    }

    #[test]
    fn rows_come_back_in_any_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = ThumbnailWriter::create(folder.path()).expect("a file");
        let long = "ü".repeat(1_000_000);
        let (one, three) = (inspection(3), inspection(7));
        writer.push(None, 0, Some(&one)).expect("written");
        writer.push(Some(&long), 1, None).expect("written");
        writer.push(Some("c"), 2, Some(&three)).expect("written");
        let end = writer.end;
        writer.push(Some("d"), 0, Some(&one)).expect("written");
        assert_eq!(writer.end, end + 5, "a name and its length");
        let mut thumbnails = writer.finish().expect("written");
        let shown = |name: Option<&str>, image: &Inspection| Shown {
            name: name.map(str::to_owned),
            jpeg: Some(image.thumbnail.clone()),
            windows: image.windows.clone(),
        };
        assert_eq!(thumbnails.get(2).expect("a row"), shown(Some("c"), &three));
        assert_eq!(thumbnails.get(0).expect("a row"), shown(None, &one));
        assert_eq!(thumbnails.get(3).expect("a row"), shown(Some("d"), &one));
        let second = thumbnails.get(1).expect("a row");
        assert_eq!((second.name.map(|name| name.chars().count()), second.jpeg), (Some(200), None));
        assert_eq!(thumbnails.get(4).expect("no row"), Shown::default());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "the file has no name");
    }
}
