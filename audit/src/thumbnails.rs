//! Names of all rows, thumbnails and the hashes of windows of all images in a temporary file: which of them are needed
//! is known only at the end of the pass.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::inspection::PerceptualHash;
use super::observer::ObservedImage;
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
    /// the order in which they first come; what was seen of it is written then and left out where it comes again.
    pub fn push(&mut self, name: Option<&str>, image: u32, seen: &ObservedImage) -> Result<()> {
        let known = self.index.images.len();
        if image as usize > known {
            return Err(Error::Internal(format!("thumbnail {image} comes after {known} others")));
        }
        if image as usize == known {
            self.index.images.push(self.end);
            let windows = seen.inspection.as_ref().map(|inspection| inspection.windows.as_slice()).unwrap_or_default();
            self.append(windows.as_flattened())?;
            self.append(&seen.thumbnail)?;
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
        Ok(Thumbnails { file, folder, index })
    }
}

/// Reads rows back, on any number of threads.
#[derive(Debug)]
pub(super) struct Thumbnails {
    file: File,
    folder: PathBuf,
    index: Index,
}

impl Thumbnails {
    /// What was written for a row; nothing for a row that there is not.
    pub fn get(&self, row: usize) -> Result<Shown> {
        Ok(Shown { name: self.name(row)?, jpeg: self.jpeg(row)? })
    }

    /// The name that the dataset gives a row's image.
    pub fn name(&self, row: usize) -> Result<Option<String>> {
        let name = self.index.names.get(row).filter(|name| **name != NO_NAME);
        let name = name.map(|name| self.part(*name)).transpose()?;
        Ok(name.map(|(name, _)| String::from_utf8_lossy(&name).into_owned()))
    }

    /// The thumbnail of a row's image; none where it cannot be decoded.
    pub fn jpeg(&self, row: usize) -> Result<Option<Vec<u8>>> {
        let Some(image) = self.image(row) else { return Ok(None) };
        let (_, end) = self.part(image)?;
        let (jpeg, _) = self.part(end)?;
        Ok(Some(jpeg).filter(|jpeg| !jpeg.is_empty()))
    }

    /// Perceptual hashes of the windows of a row's image; none where it cannot be decoded.
    pub fn windows(&self, row: usize) -> Result<Vec<PerceptualHash>> {
        let windows = self.image(row).map(|image| self.part(image)).transpose()?;
        Ok(windows.map(|(windows, _)| windows.as_chunks::<HASH>().0.to_vec()).unwrap_or_default())
    }

    /// Where what is kept of a row's image begins.
    fn image(&self, row: usize) -> Option<u64> {
        self.index.image_of.get(row).and_then(|image| self.index.images.get(*image as usize)).copied()
    }

    /// The part that begins here, and where it ends.
    fn part(&self, start: u64) -> Result<(Vec<u8>, u64)> {
        let read = || -> std::io::Result<(Vec<u8>, u64)> {
            let mut length = [0; 4];
            self.file.read_exact_at(&mut length, start)?;
            let length = u32::from_le_bytes(length);
            let (mut part, start) = (vec![0; length as usize], start + size_of_val(&length) as u64);
            self.file.read_exact_at(&mut part, start)?;
            Ok((part, start + u64::from(length)))
        };
        read().map_err(|error| Error::io(&self.folder, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seed: u8) -> ObservedImage {
        let data = (0..48).map(|value: u8| value.wrapping_mul(seed)).collect();
        let image = dismax::image::Pixels::new(4, 4, data);
        let inspected = crate::inspection::Inspector::default().inspect_and_show(&image, None);
        let (inspection, thumbnail) = inspected.expect("a whole image");
        ObservedImage { inspection: Some(inspection), thumbnail, ..unseen() }
    }

    fn unseen() -> ObservedImage {
        ObservedImage {
            digest: [0; 16],
            inspection: None,
            thumbnail: Vec::new(),
            format: None,
            bytes: 0,
            cut_off: false,
        }
    }

    #[test]
    fn rows_come_back_in_any_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = ThumbnailWriter::create(folder.path()).expect("a file");
        let long = "ü".repeat(1_000_000);
        let (one, three) = (seen(3), seen(7));
        writer.push(None, 0, &one).expect("written");
        writer.push(Some(&long), 1, &unseen()).expect("written");
        writer.push(Some("c"), 2, &three).expect("written");
        let end = writer.end;
        writer.push(Some("d"), 0, &one).expect("written");
        assert_eq!(writer.end, end + 5, "a name and its length");
        let thumbnails = writer.finish().expect("written");
        let shown = |name: Option<&str>, image: &ObservedImage| Shown {
            name: name.map(str::to_owned),
            jpeg: Some(image.thumbnail.clone()),
        };
        let windows = |row| thumbnails.windows(row).expect("hashes");
        assert_eq!(windows(2), three.inspection.as_ref().expect("decoded").windows);
        assert_eq!((windows(3), windows(1), windows(4)), (windows(0), Vec::new(), Vec::new()));
        assert_eq!(thumbnails.get(2).expect("a row"), shown(Some("c"), &three));
        assert_eq!(thumbnails.get(0).expect("a row"), shown(None, &one));
        assert_eq!(thumbnails.get(3).expect("a row"), shown(Some("d"), &one));
        let second = thumbnails.get(1).expect("a row");
        assert_eq!((second.name.map(|name| name.chars().count()), second.jpeg), (Some(200), None));
        assert_eq!(thumbnails.get(4).expect("no row"), Shown::default());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "the file has no name");
    }
}
