//! Encoded images of every format.

use dismax::image::{Decoding, Limits, Preprocessing, ReusableResizer, decode, exif_orientation, has_end_marker};

/// Small, so that a run is short.
const LIMITS: Limits = Limits { max_pixels: 1 << 20 };

/// Decodes as training and scoring do, and brings the pixels to a network's size.
pub fn run(bytes: &[u8]) -> bool {
    let plain = decode(bytes, &LIMITS, Decoding::default());
    let _ = has_end_marker(bytes);
    let orientation = exif_orientation(bytes);
    assert!(orientation.is_none_or(|orientation| (1..=8).contains(&orientation)));

    // As new models ask for it: turned, and large JPEG files at a part of their size.
    let preprocessing = Preprocessing { orientation: true, reduced: true, ..Preprocessing::new(8, 8) };
    let sized = decode(bytes, &LIMITS, preprocessing.decoding());
    let is_read = plain.is_ok();
    for pixels in plain.into_iter().chain(sized) {
        let count = u64::from(pixels.width) * u64::from(pixels.height);
        assert!(count > 0 && count <= LIMITS.max_pixels);
        assert_eq!(pixels.data.len() as u64, 3 * count);
        let mut out = [0; 8 * 8 * 3];
        // Widths and heights that cannot be resized are an error of the row.
        let _ = preprocessing.apply_into(&pixels, &mut ReusableResizer::new(), &mut out);
    }
    is_read
}
