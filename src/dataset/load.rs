//! From a column's image to pixels, the one place where this room calls `image`.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::{Image, ImageColumn, Images};
use crate::image::{Decoding, Limits, Pixels, decode, raw};
use crate::{Error, Result, RowError, RowErrorCode};

/// What may be done to get at an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// What a decoded image may cost.
    pub limits: Limits,
    /// Whether files that rows name are opened. A dataset from elsewhere could name any file of this machine, so this
    /// is off unless the user asks for it.
    pub read_paths: bool,
    /// How files are decoded. A stage and a training take this from the preprocessing of their network.
    pub decoding: Decoding,
}

impl LoadOptions {
    /// Checks that images of `column` may be loaded at all.
    ///
    /// # Errors
    /// [`Error::PathsNotAllowed`] for a column of paths that may not be read: every row would fail.
    pub fn require_paths(&self, column: &ImageColumn) -> Result<()> {
        match column.holds_paths() && !self.read_paths {
            false => Ok(()),
            true => Err(Error::PathsNotAllowed { column: column.name().to_owned() }),
        }
    }
}

/// An image whose bytes are at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenedImage<'a> {
    /// The bytes of an image file, from the column or from the file that a path names.
    Encoded(Cow<'a, [u8]>),
    /// Pixels that need no decoding.
    Raw(Pixels),
}

impl LoadOptions {
    /// Gets at a row's image: reads the file where the column holds paths and `read_paths` allows it, and arranges
    /// unencoded pixels.
    ///
    /// # Errors
    /// Those of [`Images::get`] and [`raw`], `file_not_readable`, and `too_many_pixels` for unencoded pixels or a file
    /// that exceed the limits.
    pub fn open<'a>(&self, images: &'a Images, row: usize) -> Result<OpenedImage<'a>, RowError> {
        let (images, row) = images.part_of(row);
        match images.get(row)? {
            Image::Encoded(bytes) => Ok(OpenedImage::Encoded(Cow::Borrowed(bytes))),
            Image::Path(path) => read(path, images, self).map(|bytes| OpenedImage::Encoded(Cow::Owned(bytes))),
            Image::Raw { values, height, width, channels, layout } => {
                self.limits.check(width.into(), height.into())?;
                raw(values, height, width, channels, layout).map(OpenedImage::Raw)
            }
        }
    }

    /// Decodes the bytes of an image file within the limits.
    ///
    /// # Errors
    /// Those of [`decode`].
    pub fn decode(&self, bytes: &[u8]) -> Result<Pixels, RowError> {
        decode(bytes, &self.limits, self.decoding)
    }

    /// The pixels of a row's image.
    ///
    /// # Errors
    /// Those of [`LoadOptions::open`] and [`LoadOptions::decode`].
    pub fn load(&self, images: &Images, row: usize) -> Result<Pixels, RowError> {
        match self.open(images, row)? {
            OpenedImage::Encoded(bytes) => self.decode(&bytes),
            OpenedImage::Raw(pixels) => Ok(pixels),
        }
    }
}

fn read(path: &str, images: &Images, options: &LoadOptions) -> Result<Vec<u8>, RowError> {
    let refuse = |why: String| RowError::new(RowErrorCode::FileNotReadable, format!("{path}: {why}"));
    let full = images.folder().join(path);
    let is_below = |folder: &Path| {
        folder.as_os_str().is_empty()
            || folder.canonicalize().is_ok_and(|folder| full.canonicalize().is_ok_and(|full| full.starts_with(folder)))
    };
    if !options.read_paths && !images.opens_below().is_some_and(is_below) {
        return Err(refuse(
            "the row holds a path and no image, and reading files that rows name is not allowed".into(),
        ));
    }
    if path.contains("://") {
        return Err(refuse("addresses are not fetched, only files are read".into()));
    }
    let metadata = fs::metadata(&full).map_err(|error| refuse(error.to_string()))?;
    // A pipe or a device could keep the run waiting for ever.
    if !metadata.is_file() {
        return Err(refuse("is not a regular file".into()));
    }
    // No format needs more than 16 bytes for a pixel; the rest is room for profiles and notes.
    let most = options.limits.max_pixels.saturating_mul(16).saturating_add(64 << 20);
    if metadata.len() > most {
        return Err(RowError::new(
            RowErrorCode::TooManyPixels,
            format!(
                "{path}: {} bytes, more than the limit of {} pixels can need",
                metadata.len(),
                options.limits.max_pixels
            ),
        ));
    }
    let mut bytes = Vec::new();
    File::open(&full)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| refuse(error.to_string()))?;
    Ok(bytes)
}
