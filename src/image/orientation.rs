//! How a picture is turned, as far as its file says.

use std::io::Cursor;

use image::{ImageDecoder, ImageReader};

use crate::panic::caught;

/// The EXIF orientation in an image file, from 1 (as stored; also where the file says nothing) to 8; none where its
/// header cannot be read.
pub fn exif_orientation(bytes: &[u8]) -> Option<u8> {
    let read = || {
        let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?.into_decoder().ok()?;
        decoder.orientation().ok()
    };
    caught(read).ok().flatten().map(|orientation| orientation.to_exif())
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbImage};

    use super::*;

    #[test]
    fn files_say_how_they_are_turned() {
        let mut png = Cursor::new(Vec::new());
        RgbImage::new(3, 2).write_to(&mut png, ImageFormat::Png).expect("encodes");
        assert_eq!(exif_orientation(png.get_ref()), Some(1));
        let mut jpeg = Cursor::new(Vec::new());
        RgbImage::new(3, 2).write_to(&mut jpeg, ImageFormat::Jpeg).expect("encodes");
        // An EXIF segment behind the first marker: one entry, orientation 6, big-endian.
        let entry = [0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0];
        let exif = [b"Exif\0\0MM\0\x2A\0\0\0\x08".as_slice(), &entry].concat();
        let length = u16::try_from(exif.len() + 2).expect("short").to_be_bytes();
        let bytes = jpeg.into_inner();
        let turned = [&bytes[..2], &[0xFF, 0xE1], &length, &exif, &bytes[2..]].concat();
        assert_eq!(exif_orientation(&turned), Some(6));
        assert_eq!(exif_orientation(b"no image"), None);
    }
}
