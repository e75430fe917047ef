//! JPEG files at a part of their size: the inverse transform gives blocks of 4, 2 or 1 pixels a side instead of 8. Most
//! of the work and of the memory falls away with a photograph that is made small anyway.

use std::io;

use mozjpeg::Decompress;

/// Decodes to RGB at one `divisor`-th of the size, 2, 4 or 8: width, height and `height * width * 3` values.
///
/// # Errors
/// The decoder's answer; it panics at some kinds of damage.
pub(super) fn decode(bytes: &[u8], divisor: u32) -> io::Result<(u32, u32, Vec<u8>)> {
    let mut decoder = Decompress::new_mem(bytes)?;
    decoder.scale((8 / divisor) as u8);
    let mut picture = decoder.rgb()?;
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    let data = picture.read_scanlines::<u8>()?;
    picture.finish()?;
    Ok((width, height, data))
}
