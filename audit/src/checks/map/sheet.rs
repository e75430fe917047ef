//! Thumbnails of many images in one: a browser decodes it once, and it is smaller than they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::view::Sheet;
use dismax::image::{Decoding, Limits, Pixels, decode};

/// Thumbnails in a row.
const COLUMNS: usize = 20;
/// JPEG quality of the sheet.
const QUALITY: u8 = 75;
/// The grey around thumbnails that are no squares.
const GREY: u8 = 127;

/// One image of thumbnails as JPEGs, in their order; those that are missing or cannot be decoded stay grey. None where
/// there is not one.
pub(super) fn sheet(thumbnails: &[Option<Vec<u8>>]) -> Option<Sheet> {
    let pictures: Vec<Option<Pixels>> =
        thumbnails.iter().map(|jpeg| decode(jpeg.as_deref()?, &Limits::default(), Decoding::default()).ok()).collect();
    let side = pictures.iter().flatten().map(|picture| picture.width.max(picture.height)).max()? as usize;
    let columns = COLUMNS.min(pictures.len());
    let (width, height) = (columns * side, pictures.len().div_ceil(columns) * side);
    let mut pixels = vec![GREY; width * height * 3];
    for (position, picture) in pictures.iter().enumerate() {
        let Some(picture) = picture else { continue };
        let (own_width, own_height) = (picture.width as usize, picture.height as usize);
        let left = position % columns * side + (side - own_width) / 2;
        let top = position / columns * side + (side - own_height) / 2;
        for (line, row) in picture.data.chunks_exact(3 * own_width).enumerate() {
            let start = 3 * ((top + line) * width + left);
            pixels[start..start + row.len()].copy_from_slice(row);
        }
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&pixels, width as u32, height as u32, ExtendedColorType::Rgb8)
        .expect("thumbnails have 64 pixels a side, and memory takes what is written");
    let src = format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg));
    Some(Sheet { src, columns: columns as u32, side: side as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thumbnail of one colour.
    fn thumbnail(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
        let mut jpeg = Vec::new();
        let pixels = colour.repeat((width * height) as usize);
        let encoded =
            JpegEncoder::new_with_quality(&mut jpeg, 95).encode(&pixels, width, height, ExtendedColorType::Rgb8);
        encoded.expect("encoded");
        jpeg
    }

    #[test]
    fn each_thumbnail_lies_where_its_number_says() {
        let colours: Vec<[u8; 3]> = (0..23).map(|n| [10 * n, 200 - 8 * n, 90]).collect();
        let mut thumbnails: Vec<Option<Vec<u8>>> =
            colours.iter().map(|colour| Some(thumbnail(32, 32, *colour))).collect();
        thumbnails[21] = None;
        thumbnails[22] = Some(thumbnail(32, 8, colours[22]));
        let sheet = sheet(&thumbnails).expect("there are thumbnails");
        assert_eq!((sheet.columns, sheet.side), (20, 32));
        let jpeg = STANDARD.decode(sheet.src.strip_prefix("data:image/jpeg;base64,").expect("a JPEG")).expect("base64");
        let image = decode(&jpeg, &Limits::default(), Decoding::default()).expect("a whole image");
        assert_eq!((image.width, image.height), (640, 64));
        let at = |x: usize, y: usize| &image.data[3 * (640 * y + x)..][..3];
        let near = |seen: &[u8], colour: [u8; 3]| seen.iter().zip(colour).all(|(seen, value)| seen.abs_diff(value) < 8);
        for (n, colour) in colours.iter().enumerate().filter(|(n, _)| *n != 21) {
            let seen = at(n % 20 * 32 + 16, n / 20 * 32 + 16);
            assert!(near(seen, *colour), "{n}: {seen:?}, not {colour:?}");
        }
        assert!(near(at(32 + 16, 32 + 16), [GREY; 3]), "what is missing is grey");
        assert!(near(at(64 + 16, 32 + 2), [GREY; 3]), "and so is what lies around a flat picture");
    }

    #[test]
    fn without_thumbnails_there_is_no_sheet() {
        assert!(sheet(&[]).is_none());
        assert!(sheet(&[None, Some(b"no JPEG".to_vec())]).is_none());
    }
}
