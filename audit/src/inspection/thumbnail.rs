//! Pictures made small, to be looked at.

use std::fmt;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::encoded_format::EncodedFormat;
use dismax::image::Pixels;
use dismax::{RowError, RowErrorCode};

/// Most pixels of a side of a thumbnail.
pub(super) const THUMBNAIL_SIDE: u32 = 64;
/// JPEG quality of thumbnails.
const QUALITY: u8 = 80;
/// Most bytes of an image that is its own thumbnail.
const MAX_OWN_BYTES: usize = 5 << 9;

/// A picture as a small JPEG file, as it stands in reports.
///
/// # Errors
/// A picture whose sides do not fit the number of its values.
pub fn thumbnail(image: &Pixels) -> Result<Vec<u8>, RowError> {
    match fitted(image, THUMBNAIL_SIDE, &mut Resizer::new())? {
        Some(small) => jpeg(&small),
        None => jpeg(image),
    }
}

/// A picture as JPEG.
pub(super) fn jpeg(image: &Pixels) -> Result<Vec<u8>, RowError> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&image.data, image.width, image.height, ExtendedColorType::Rgb8)
        .map_err(|error| wrong(&error))?;
    Ok(jpeg)
}

/// Whether a file, whose picture is no larger than a thumbnail, can stand in its place: a JPEG of few bytes that no
/// viewer turns.
pub(super) fn is_thumbnail(encoded: &[u8]) -> bool {
    encoded.len() <= MAX_OWN_BYTES
        && EncodedFormat::from_bytes(encoded) == Some(EncodedFormat::Jpeg)
        && !encoded.windows(4).any(|window| window == b"Exif")
}

/// The picture made smaller until it fits into a square of `side` pixels; none where it does already.
pub(super) fn fitted(image: &Pixels, side: u32, resizer: &mut Resizer) -> Result<Option<Pixels>, RowError> {
    let (width, height) = fitting(image.width, image.height, side);
    if (width, height) == (image.width, image.height) {
        return Ok(None);
    }
    let source =
        ImageRef::new(image.width, image.height, &image.data, PixelType::U8x3).map_err(|error| wrong(&error))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    resizer.resize(&source, &mut target, &options).map_err(|error| wrong(&error))?;
    Ok(Some(Pixels::new(width, height, target.into_vec())))
}

/// The largest size with the proportions of `width` x `height` that fits into a square of `side` pixels; never larger
/// than the image, and at least one pixel.
fn fitting(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longer = width.max(height);
    if longer <= side {
        return (width, height);
    }
    let scaled = |length: u32| {
        let rounded = (u64::from(length) * u64::from(side) + u64::from(longer) / 2) / u64::from(longer);
        (rounded as u32).clamp(1, side)
    };
    (scaled(width), scaled(height))
}

pub(super) fn wrong(why: &dyn fmt::Display) -> RowError {
    RowError::new(RowErrorCode::WrongShape, why.to_string())
}
