//! Formats of encoded images, and whether an image's bytes end too early.

use std::fmt;
use std::path::Path;

use image::ImageFormat;
use serde::{Deserialize, Serialize};

/// A format of encoded images that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EncodedFormat {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    WebP,
    /// GIF.
    Gif,
    /// BMP.
    Bmp,
    /// TIFF.
    Tiff,
}

impl EncodedFormat {
    /// The format that the first bytes tell.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        image::guess_format(bytes).ok().and_then(Self::from_format)
    }

    /// The format that a file's name promises by its extension.
    pub fn from_name(name: &str) -> Option<Self> {
        let extension = Path::new(name).extension()?.to_str()?;
        match extension.to_ascii_lowercase().as_str() {
            // Two more names of JPEG files, which the `image` crate does not list.
            "jpe" | "jif" => Some(Self::Jpeg),
            _ => ImageFormat::from_extension(extension).and_then(Self::from_format),
        }
    }

    fn from_format(format: ImageFormat) -> Option<Self> {
        match format {
            ImageFormat::Jpeg => Some(Self::Jpeg),
            ImageFormat::Png => Some(Self::Png),
            ImageFormat::WebP => Some(Self::WebP),
            ImageFormat::Gif => Some(Self::Gif),
            ImageFormat::Bmp => Some(Self::Bmp),
            ImageFormat::Tiff => Some(Self::Tiff),
            _ => None,
        }
    }

    /// Its usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        }
    }
}

impl fmt::Display for EncodedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether the bytes of an image file that cannot be decoded end before the image does, as far as its format tells:
/// JPEG, PNG and GIF have a mark at their end, WebP and BMP say how long they are.
pub(crate) fn is_cut_off(bytes: &[u8]) -> bool {
    let length_at = |at: usize| {
        let bytes: Option<[u8; 4]> = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).map(u64::from)
    };
    match EncodedFormat::from_bytes(bytes) {
        Some(EncodedFormat::Jpeg) => !dismax::image::has_end_marker(bytes),
        // The type of the last chunk, before its checksum.
        Some(EncodedFormat::Png) => bytes.len() < 8 || !bytes.windows(4).any(|window| window == b"IEND"),
        Some(EncodedFormat::Gif) => bytes.last() != Some(&0x3B),
        Some(EncodedFormat::WebP) => length_at(4).is_none_or(|length| length + 8 > bytes.len() as u64),
        Some(EncodedFormat::Bmp) => length_at(2).is_none_or(|length| length > bytes.len() as u64),
        Some(EncodedFormat::Tiff) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_bytes_and_by_name() {
        assert_eq!(EncodedFormat::from_bytes(&[0xFF, 0xD8, 0xFF, 0xE0]), Some(EncodedFormat::Jpeg));
        assert_eq!(EncodedFormat::from_bytes(b"hello"), None);
        for (name, format) in [
            ("a/b.JPG", Some(EncodedFormat::Jpeg)),
            ("x.jpeg", Some(EncodedFormat::Jpeg)),
            ("x.png", Some(EncodedFormat::Png)),
            ("x.tif", Some(EncodedFormat::Tiff)),
            ("x.bin", None),
            ("png", None),
            ("", None),
        ] {
            assert_eq!(EncodedFormat::from_name(name), format, "{name}");
        }
    }

    #[test]
    fn files_that_end_early_are_told_from_whole_ones() {
        let picture =
            image::RgbImage::from_fn(40, 40, |x, y| image::Rgb([(x * y) as u8, (x * 5) as u8, (y * 3) as u8]));
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            image::DynamicImage::from(picture.clone()).write_to(&mut bytes, format).expect("encoded");
            let bytes = bytes.into_inner();
            assert!(!is_cut_off(&bytes), "{format:?}");
            assert!(is_cut_off(&bytes[..bytes.len() / 2]), "{format:?}");
        }
        assert!(!is_cut_off(b"") && !is_cut_off(b"no image"));
    }
}
