//! Bytes to RGB pixels.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};

use super::budget::{Reserved, reserve};
use super::decoding::Decoding;
use super::jpeg_end::has_end_marker;
use super::{foreign, reduced};
use crate::panic::caught;
use crate::{RowError, RowErrorCode};

/// Memory that a decoder may take for headers, palettes and colour profiles, in bytes.
const HEADER_BYTES: u64 = 64 << 20;

/// Bytes of the widest pixel that the decoders know.
const WIDEST_PIXEL: u64 = 16;

/// The first EXIF orientation that exchanges width and height; so do all after it.
const FIRST_TURNED: u8 = 5;

/// An RGB image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// `height * width * 3` values: rows, then columns, then red, green, blue.
    pub data: Vec<u8>,
    /// Width and height of the picture as it is stored: larger where it was decoded at a part of its size.
    pub stored: (u32, u32),
    /// Keeps others from filling the memory meanwhile.
    memory: Reserved,
}

impl Pixels {
    /// A picture that was not made smaller: `height * width * 3` values.
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Self {
        Self { width, height, data, stored: (width, height), memory: Reserved::default() }
    }
}

/// What an image may cost. Guards against files of a few bytes that unfold to gigabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of pixels, width times height.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 100 million pixels: 300 MB as RGB, more than most cameras deliver.
    fn default() -> Self {
        Self { max_pixels: 100_000_000 }
    }
}

impl Limits {
    /// Refuses an image of more than `max_pixels`, naming its size and the limit.
    pub(crate) fn check(&self, width: u64, height: u64) -> Result<(), RowError> {
        let pixels = width.saturating_mul(height);
        if pixels <= self.max_pixels {
            return Ok(());
        }
        Err(RowError::new(
            RowErrorCode::TooManyPixels,
            format!("{width} x {height} = {pixels} pixels, the limit is {}", self.max_pixels),
        ))
    }
}

/// Order of the values of an unencoded image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Rows, columns, channels: how images are stored.
    Hwc,
    /// Channels, rows, columns: how networks take them.
    Chw,
}

/// Decodes JPEG, PNG, WebP, GIF, BMP or TIFF, recognised by content, to RGB.
///
/// Grey, palette, CMYK, 16-bit and transparent images are converted as the [module](super) says; `decoding` says
/// whether a picture is turned and made smaller.
///
/// # Errors
/// `empty_image` for zero bytes, `unknown_format`, `too_many_pixels` (found out from the header, before memory for the
/// pixels is taken) and `decode_failed`, also for files that were cut off.
pub fn decode(bytes: &[u8], limits: &Limits, decoding: Decoding) -> Result<Pixels, RowError> {
    if bytes.is_empty() {
        return Err(RowError::new(RowErrorCode::EmptyImage, ""));
    }
    let format = format_of(bytes)?;
    // A decoder gets bytes from anywhere, and a panic in it would take the whole run for one row. It is safe to go on:
    // the closure borrows only the input, and everything that the decoder built is dropped while unwinding.
    caught(|| decode_as(format, bytes, limits, decoding))
        .unwrap_or_else(|words| Err(failed(format, &format!("the decoder gave up: {words}"))))
}

/// Takes `bytes` as unencoded `u8` values: `height * width * channels`, with 1 (grey), 3 (RGB) or 4 (RGBA, alpha is
/// dropped) channels.
///
/// # Errors
/// `wrong_shape` when the shape has other channels, a side of 0 or does not fit the number of bytes.
pub fn raw(bytes: &[u8], height: u32, width: u32, channels: u32, layout: Layout) -> Result<Pixels, RowError> {
    let wrong = |why: String| RowError::new(RowErrorCode::WrongShape, why);
    if !matches!(channels, 1 | 3 | 4) {
        return Err(wrong(format!("{channels} channels, expected 1, 3 or 4")));
    }
    if width == 0 || height == 0 {
        return Err(wrong(format!("{height} x {width} has no pixels")));
    }
    let expected = u64::from(height).saturating_mul(u64::from(width)).saturating_mul(u64::from(channels));
    if bytes.len() as u64 != expected {
        return Err(wrong(format!("{height} x {width} x {channels} needs {expected} values, got {}", bytes.len())));
    }
    let data = match (layout, channels) {
        (_, 1) => grey(bytes.iter().copied()),
        (Layout::Hwc, 3) => bytes.to_vec(),
        (Layout::Hwc, _) => rgb(bytes.chunks_exact(4).map(|pixel| [pixel[0], pixel[1], pixel[2]]), bytes.len() / 4),
        (Layout::Chw, _) => {
            // Divides without rest: the number of bytes was checked above, and there are at least 3 planes.
            let plane = bytes.len() / channels as usize;
            let (red, rest) = bytes.split_at(plane);
            let (green, rest) = rest.split_at(plane);
            rgb(red.iter().zip(green).zip(rest).map(|((&r, &g), &b)| [r, g, b]), plane)
        }
    };
    Ok(Pixels::new(width, height, data))
}

fn format_of(bytes: &[u8]) -> Result<ImageFormat, RowError> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    const READ: &str = "JPEG, PNG, WebP, GIF, BMP and TIFF are read";
    let unknown = |what: String| RowError::new(RowErrorCode::UnknownFormat, format!("{what}; {READ}"));
    match image::guess_format(bytes) {
        Ok(format @ (Jpeg | Png | WebP | Gif | Bmp | Tiff)) => Ok(format),
        other => {
            if let Some(name) = foreign::name_of(bytes) {
                return Err(unknown(name.to_owned()));
            }
            if let Ok(other) = other {
                return Err(unknown(format!("{other:?}")));
            }
            let start: String = bytes.iter().take(8).map(|byte| format!(" {byte:02x}")).collect();
            Err(unknown(format!("{} bytes that begin with{start}", bytes.len())))
        }
    }
}

fn decode_as(format: ImageFormat, bytes: &[u8], limits: &Limits, decoding: Decoding) -> Result<Pixels, RowError> {
    let wrap = |error: ImageError| failed(format, &error.to_string());
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allocation = image::Limits::no_limits();
    allocation.max_alloc = Some(header_bytes(format, bytes, limits)?);
    reader.limits(allocation.clone());
    let mut decoder = match reader.into_decoder() {
        Ok(decoder) => decoder,
        Err(ImageError::Limits(_)) if format == ImageFormat::Png => {
            let most = HEADER_BYTES >> 20;
            return Err(failed(format, &format!("its texts and colour profile take more than {most} MiB")));
        }
        Err(ImageError::Limits(error)) => return Err(RowError::new(RowErrorCode::TooManyPixels, error.to_string())),
        Err(error) => return Err(wrap(error)),
    };
    let (width, height) = decoder.dimensions();
    limits.check(width.into(), height.into())?;
    if width == 0 || height == 0 {
        return Err(failed(format, &format!("{width} x {height} has no pixels")));
    }
    // From here on the bound is this image's own size.
    let own = u64::from(width) * u64::from(height) * WIDEST_PIXEL;
    allocation.max_alloc = Some(own.saturating_add(HEADER_BYTES));
    decoder.set_limits(allocation).map_err(wrap)?;
    if format == ImageFormat::Jpeg && !has_end_marker(bytes) {
        return Err(failed(format, "the file is cut off: no end-of-image marker"));
    }
    let orientation = match decoding.orientation {
        true => decoder.orientation().map_err(wrap)?,
        false => Orientation::NoTransforms,
    };
    let is_turned = orientation.to_exif() >= FIRST_TURNED;
    let divisor = match format == ImageFormat::Jpeg && is_grey_or_colour(&decoder) {
        true => decoding.divisor(width, height, is_turned),
        false => 1,
    };
    let pixels = u64::from(width.div_ceil(divisor)) * u64::from(height.div_ceil(divisor));
    // What the decoder gives, and RGB made of it, or the same turned.
    let given = u64::from(decoder.color_type().bytes_per_pixel());
    let memory = reserve(pixels * (given + if is_turned { given.max(3) } else { 3 }));
    let mut image = match divisor {
        1 => DynamicImage::from_decoder(decoder).map_err(wrap)?,
        _ => {
            let (width, height, data) =
                reduced::decode(bytes, divisor).map_err(|error| failed(format, &error.to_string()))?;
            RgbImage::from_raw(width, height, data)
                .map(DynamicImage::ImageRgb8)
                .ok_or_else(|| failed(format, "the decoder gave too few pixels"))?
        }
    };
    image.apply_orientation(orientation);
    let stored = if is_turned { (height, width) } else { (width, height) };
    let (width, height) = (image.width(), image.height());
    Ok(Pixels { width, height, data: to_rgb(format, image)?, stored, memory })
}

/// Memory that the decoder may take while it reads the header.
fn header_bytes(format: ImageFormat, bytes: &[u8], limits: &Limits) -> Result<u64, RowError> {
    let number = |at: usize| bytes.get(at..)?.first_chunk().map(|number| u32::from_be_bytes(*number));
    if format == ImageFormat::Png {
        // It holds its colour profile and texts compressed, a thousand times as large once they are not, and says its
        // size before them, in a chunk that must be the first. A decoder needs some lines of pixels then.
        let size = number(16).zip(number(20)).filter(|_| bytes.get(12..16) == Some(b"IHDR"));
        let (width, height) = size.unwrap_or_default();
        limits.check(width.into(), height.into())?;
        return Ok(HEADER_BYTES + u64::from(width) * WIDEST_PIXEL);
    }
    // Some decoders check the pixels against this bound while they read the header; ours names the size, so theirs must
    // not come first.
    Ok(HEADER_BYTES.saturating_add(limits.max_pixels.saturating_mul(WIDEST_PIXEL)))
}

/// Whether the file holds what the reducing decoder makes RGB of: no inks.
fn is_grey_or_colour(decoder: &impl ImageDecoder) -> bool {
    matches!(decoder.original_color_type(), ExtendedColorType::Rgb8 | ExtendedColorType::L8)
}

/// RGB values of a decoded image: alpha dropped, high byte of 16-bit channels.
fn to_rgb(format: ImageFormat, image: DynamicImage) -> Result<Vec<u8>, RowError> {
    let pixels = image.width() as usize * image.height() as usize;
    Ok(match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageRgba8(image) => {
            rgb(image.pixels().map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]), pixels)
        }
        DynamicImage::ImageLuma8(image) => grey(image.into_raw()),
        DynamicImage::ImageLumaA8(image) => grey(image.pixels().map(|pixel| pixel.0[0])),
        DynamicImage::ImageLuma16(image) => grey(image.pixels().map(|pixel| high_byte(pixel.0[0]))),
        DynamicImage::ImageLumaA16(image) => grey(image.pixels().map(|pixel| high_byte(pixel.0[0]))),
        DynamicImage::ImageRgb16(image) => rgb(image.pixels().map(|pixel| pixel.0.map(high_byte)), pixels),
        DynamicImage::ImageRgba16(image) => {
            rgb(image.pixels().map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]].map(high_byte)), pixels)
        }
        // Whether 1.0 or 255.0 is white stands nowhere in such a file, and a guess would be scored in silence.
        _ => return Err(failed(format, "floating-point pixels are not read; store 8 or 16 bits per channel")),
    })
}

fn failed(format: ImageFormat, why: &str) -> RowError {
    RowError::new(RowErrorCode::DecodeFailed, format!("{format:?}: {why}"))
}

const fn high_byte(value: u16) -> u8 {
    value.to_be_bytes()[0]
}

fn grey(values: impl IntoIterator<Item = u8>) -> Vec<u8> {
    values.into_iter().flat_map(|value| [value; 3]).collect()
}

fn rgb(values: impl Iterator<Item = [u8; 3]>, pixels: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(pixels * 3);
    values.for_each(|pixel| data.extend_from_slice(&pixel));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Pixels, RowError>) -> &'static str {
        result.expect_err("should be refused").code.as_str()
    }

    #[test]
    fn a_large_image_has_its_memory_set_aside() {
        let (width, height) = (4000, 3000);
        let mut file = Vec::new();
        image::GrayImage::new(width, height).write_to(&mut Cursor::new(&mut file), ImageFormat::Png).expect("written");
        let pixels = decode(&file, &Limits::default(), Decoding::default()).expect("decodes");
        assert!(crate::image::budget::reserved() >= 4 * 12_000_000, "one byte and three of each pixel");
        drop(pixels);
    }

    #[test]
    fn raw_channels_and_layouts() {
        let rgba = raw(&[1, 2, 3, 255, 4, 5, 6, 0], 1, 2, 4, Layout::Hwc).expect("fits");
        assert_eq!(rgba.data, [1, 2, 3, 4, 5, 6]);
        let planes = raw(&[1, 4, 2, 5, 3, 6], 1, 2, 3, Layout::Chw).expect("fits");
        assert_eq!(planes.data, [1, 2, 3, 4, 5, 6]);
        let planes = raw(&[1, 4, 2, 5, 3, 6, 9, 9], 1, 2, 4, Layout::Chw).expect("fits");
        assert_eq!(planes.data, [1, 2, 3, 4, 5, 6]);
        for layout in [Layout::Hwc, Layout::Chw] {
            assert_eq!(raw(&[7, 8], 2, 1, 1, layout).expect("fits").data, [7, 7, 7, 8, 8, 8]);
        }
    }

    #[test]
    fn raw_refuses_what_does_not_fit() {
        assert_eq!(code(raw(&[0; 8], 2, 2, 2, Layout::Hwc)), "wrong_shape");
        assert_eq!(code(raw(&[0; 11], 2, 2, 3, Layout::Hwc)), "wrong_shape");
        assert_eq!(code(raw(&[], 0, 2, 3, Layout::Hwc)), "wrong_shape");
        assert_eq!(code(raw(&[0; 3], u32::MAX, u32::MAX, 4, Layout::Chw)), "wrong_shape");
    }

    #[test]
    fn formats_that_are_not_read_are_named() {
        let error =
            decode(b"farbfeld\0\0\0\x01\0\0\0\x01", &Limits::default(), Decoding::default()).expect_err("not read");
        assert_eq!(error.code, RowErrorCode::UnknownFormat);
        assert!(error.detail.starts_with("Farbfeld"), "{error}");
        let error = decode(b"hello", &Limits::default(), Decoding::default()).expect_err("no image");
        assert!(error.detail.contains("5 bytes that begin with 68 65 6c 6c 6f"), "{error}");
        assert_eq!(code(decode(b"", &Limits::default(), Decoding::default())), "empty_image");
    }
}
