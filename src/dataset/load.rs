//! From a column's image to pixels, the one place where this room calls `image`.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::{Image, ImageColumn, ImageDigest};
use crate::dataset::digest::digest_of_encoded;
use crate::image::{EncodedFormat, Limits, Pixels, decode, raw};
use crate::{Error, Result, RowError, RowErrorCode};

/// What may be done to get at an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// What a decoded image may cost.
    pub limits: Limits,
    /// Whether files that rows name are opened. A dataset from elsewhere could name any file of this machine, so this
    /// is off unless the user asks for it.
    pub read_paths: bool,
}

impl LoadOptions {
    /// Checks that images of `column` may be loaded at all.
    ///
    /// # Errors
    /// [`Error::Config`] for a column of paths that may not be read: every row would fail.
    pub fn require_paths(&self, column: &ImageColumn) -> Result<()> {
        match column.holds_paths() && !self.read_paths {
            false => Ok(()),
            true => Err(Error::Config(format!(
                "column \"{}\" holds paths instead of images; --read-paths opens the files that they name",
                column.name()
            ))),
        }
    }
}

/// Decodes an image, opening its file where it is a path and `options` allow that.
///
/// `dataset_file` is the file that the row comes from ([`Chunk::file`](super::Chunk::file)); relative paths start in its
/// folder.
///
/// # Errors
/// Those of [`decode`] and [`raw`], `too_many_pixels` for unencoded pixels as well, and `file_not_readable`.
pub fn load(image: &Image<'_>, dataset_file: &str, options: &LoadOptions) -> Result<Pixels, RowError> {
    match *image {
        Image::Raw { values, height, width, channels, layout } => {
            options.limits.check(width.into(), height.into())?;
            raw(values, height, width, channels, layout)
        }
        Image::Encoded(_) | Image::Path(_) => decode(&encoded(image, dataset_file, options)?, &options.limits),
    }
}

/// What is known of an image's file besides its pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Source {
    /// The format that the bytes are in; none for unencoded pixels.
    pub format: Option<EncodedFormat>,
    /// Digest of the file that a path names, equal to that of the same bytes in a column; none for other images, which
    /// [`Images::digest`](super::Images::digest) tells apart.
    pub file_digest: Option<ImageDigest>,
}

/// As [`load`], with what else is known of the image's file.
///
/// # Errors
/// As [`load`].
pub fn load_with_source(
    image: &Image<'_>,
    dataset_file: &str,
    options: &LoadOptions,
) -> Result<(Pixels, Source), RowError> {
    if matches!(image, Image::Raw { .. }) {
        return Ok((load(image, dataset_file, options)?, Source::default()));
    }
    let bytes = encoded(image, dataset_file, options)?;
    let file_digest = matches!(image, Image::Path(_)).then(|| digest_of_encoded(&bytes));
    Ok((decode(&bytes, &options.limits)?, Source { format: EncodedFormat::of_bytes(&bytes), file_digest }))
}

/// The bytes of an encoded image, read from its file where it is a path; none for unencoded pixels.
///
/// # Errors
/// `file_not_readable`, `too_many_pixels` for a file that no image within the limits can need.
pub fn encoded<'a>(image: &Image<'a>, dataset_file: &str, options: &LoadOptions) -> Result<Cow<'a, [u8]>, RowError> {
    match *image {
        Image::Encoded(bytes) => Ok(Cow::Borrowed(bytes)),
        Image::Path(path) => read(path, dataset_file, options).map(Cow::Owned),
        Image::Raw { .. } => Ok(Cow::Borrowed(&[])),
    }
}

fn read(path: &str, dataset_file: &str, options: &LoadOptions) -> Result<Vec<u8>, RowError> {
    let refuse = |why: String| RowError::new(RowErrorCode::FileNotReadable, format!("{path}: {why}"));
    if !options.read_paths {
        return Err(refuse("the row holds a path instead of an image; --read-paths opens it".into()));
    }
    if path.contains("://") {
        return Err(refuse("addresses are not fetched, only files are read".into()));
    }
    let full = Path::new(dataset_file).parent().unwrap_or(Path::new("")).join(path);
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
