//! What can be said of a decoded image besides its pixels: size, light, contrast, colour, sharpness, perceptual hashes
//! and a thumbnail. No network is needed for any of it.
//!
//! ```
//! use dismax::image::Pixels;
//! use dismax_audit::inspection::Inspector;
//!
//! let black = Pixels::new(40, 30, vec![0; 40 * 30 * 3]);
//! let inspection = Inspector::default().inspect(&black)?;
//! assert_eq!((inspection.width, inspection.height, inspection.luma_mean), (40, 30, 0.0));
//! # Ok::<(), dismax::RowError>(())
//! ```

mod encoded_format;
mod hash;
mod measures;
mod thumbnail;
mod window;

use std::fmt;

use fast_image_resize::Resizer;
use serde::{Deserialize, Serialize};

use self::hash::Hasher;
use self::measures::{colour, laplacian_variance, mean_and_deviation};
use self::thumbnail::{THUMBNAIL_SIDE, fitted, is_thumbnail, jpeg, wrong};
use dismax::RowError;
use dismax::image::Pixels;

pub use self::encoded_format::EncodedFormat;
pub(crate) use self::encoded_format::is_cut_off;
pub(crate) use self::hash::HASH_BITS;
pub use self::hash::PerceptualHash;
pub(crate) use self::measures::luma;
#[doc(hidden)]
pub use self::thumbnail::thumbnail;
pub(crate) use self::window::Window;

/// Most pixels of a side of the picture that is measured; larger images are made smaller first.
pub(crate) const WORKING_SIDE: u32 = 256;

/// What can be said of a decoded image besides its pixels.
///
/// Luma is that of ITU-R BT.709, in [0, 1]. Light, contrast, colour and sharpness are measured on the picture with at
/// most 256 pixels a side, hashes on the one with at most 64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Columns as stored.
    pub width: u32,
    /// Rows as stored.
    pub height: u32,
    /// Mean luma, from 0 (black) to 1 (white).
    pub luma_mean: f32,
    /// Standard deviation of the luma, from 0 (one tone) to 0.5.
    pub luma_deviation: f32,
    /// Mean over the pixels of (largest - smallest channel) / 255, in [0, 1]: 0 where all is grey.
    pub colour: f32,
    /// Variance of the Laplacian of the luma (Pech-Pacheco et al. 2000): small where nothing has a sharp edge.
    pub sharpness: f32,
    /// Perceptual hash of the picture's middle: nine tenths of each side.
    pub hash: PerceptualHash,
    /// Perceptual hashes of 27 windows of about that size. Where another picture is this one moved by a little or
    /// cropped by a little, its middle is one of these windows, so that its `hash` is near one of these.
    pub windows: Vec<PerceptualHash>,
}

/// Makes inspections; its buffers serve one image after the other. One per worker.
pub struct Inspector {
    resizer: Resizer,
    hasher: Hasher,
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

impl Default for Inspector {
    fn default() -> Self {
        Self { resizer: Resizer::new(), hasher: Hasher::new(THUMBNAIL_SIDE) }
    }
}

impl Inspector {
    /// Inspects an image.
    ///
    /// # Errors
    /// `wrong_shape` when the image's data do not have the length that its sizes ask for.
    pub fn inspect(&mut self, image: &Pixels) -> Result<Inspection, RowError> {
        self.inspect_in_sizes(image, |_| Ok(())).map(|(inspection, ())| inspection)
    }

    /// Inspects an image, and shows it as a JPEG file of at most 64 pixels a side: the bytes that it was decoded from
    /// where these are such a file.
    ///
    /// # Errors
    /// As [`Inspector::inspect`].
    pub fn inspect_and_show(
        &mut self,
        image: &Pixels,
        encoded: Option<&[u8]>,
    ) -> Result<(Inspection, Vec<u8>), RowError> {
        let (width, height) = image.stored;
        let is_small = width.max(height) <= THUMBNAIL_SIDE;
        let own = encoded.filter(|encoded| is_small && is_thumbnail(encoded));
        self.inspect_in_sizes(image, |small| own.map_or_else(|| jpeg(small), |own| Ok(own.to_vec())))
    }

    /// An inspection, and what `show` makes of the picture with at most 64 pixels a side.
    fn inspect_in_sizes<T>(
        &mut self,
        image: &Pixels,
        show: impl FnOnce(&Pixels) -> Result<T, RowError>,
    ) -> Result<(Inspection, T), RowError> {
        let values = u64::from(image.width) * u64::from(image.height) * 3;
        if values != image.data.len() as u64 || values == 0 {
            let (width, height, values) = (image.width, image.height, image.data.len());
            return Err(wrong(&format!("{width} x {height} pixels have {values} values")));
        }
        let working = fitted(image, WORKING_SIDE, &mut self.resizer)?;
        let working = working.as_ref().unwrap_or(image);
        let light = luma(working);
        let (luma_mean, luma_deviation) = mean_and_deviation(&light);
        let sharpness = laplacian_variance(&light, working.width as usize);
        let small = fitted(working, THUMBNAIL_SIDE, &mut self.resizer)?;
        let windows = match &small {
            Some(small) => self.hasher.hash(&luma(small), small.width as usize),
            None => self.hasher.hash(&light, working.width as usize),
        };
        let windows = windows.expect("the picture was made small enough");
        let middle = Window::all().position(|window| window == Window::MIDDLE);
        let hash = middle.and_then(|middle| windows.get(middle)).copied().expect("the middle is one of the windows");
        // Of the file, also where it was decoded at a part of its size.
        let (width, height) = image.stored;
        let colour = colour(working);
        let inspection = Inspection { width, height, luma_mean, luma_deviation, colour, sharpness, hash, windows };
        Ok((inspection, show(small.as_ref().unwrap_or(working))?))
    }
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::*;

    fn image(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Pixels {
        let data = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
        Pixels::new(width, height, data)
    }

    /// Soft waves, unlike one another for different seeds.
    fn waves(width: u32, height: u32, seed: f32) -> Pixels {
        image(width, height, |x, y| {
            let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
            let wave = |k: f32| (seed * k + 9.0 * x * (k + seed.sin()) + 7.0 * y * (2.0 + (seed * k).cos())).sin();
            [wave(1.0), wave(1.3), wave(0.7)].map(|value| (128.0 + 100.0 * value) as u8)
        })
    }

    fn distance(one: &PerceptualHash, other: &PerceptualHash) -> u32 {
        one.iter().zip(other).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    #[test]
    fn luma_of_known_colours() {
        let inspect =
            |colour: [u8; 3]| Inspector::default().inspect(&image(5, 3, |_, _| colour)).expect("a whole image");
        let white = inspect([255; 3]);
        assert_eq!((white.luma_mean, white.luma_deviation, white.sharpness), (1.0, 0.0, 0.0));
        assert_eq!((white.width, white.height, white.colour), (5, 3, 0.0));
        assert_eq!(inspect([255, 0, 51]).colour, 1.0);
        assert_eq!(inspect([30, 81, 60]).colour, 0.2);
        assert_eq!(inspect([0; 3]).luma_mean, 0.0);
        assert!((inspect([0, 255, 0]).luma_mean - 0.7152).abs() < 0.003);
        let half = Inspector::default().inspect(&image(4, 4, |x, _| [255 * (x / 2) as u8; 3])).expect("a whole image");
        assert_eq!((half.luma_mean, half.luma_deviation), (0.5, 0.5));
        // Laplacians of 1 and -1 in the two middle columns, 0 elsewhere: the variance is 1 / 2.
        assert!((half.sharpness - 0.5).abs() < 1e-6, "{}", half.sharpness);
    }

    #[test]
    fn sizes_are_kept_and_thumbnails_fit() {
        for (width, height, shown) in [(1, 1, (1, 1)), (64, 32, (64, 32)), (1000, 500, (64, 32)), (2000, 1, (64, 1))] {
            let image = waves(width, height, 1.0);
            let (inspection, jpeg) = Inspector::default().inspect_and_show(&image, None).expect("a whole image");
            assert_eq!((inspection.width, inspection.height), (width, height));
            assert_eq!(inspection, Inspector::default().inspect(&image).expect("a whole image"));
            let thumbnail = image::load_from_memory_with_format(&jpeg, ImageFormat::Jpeg).expect("JPEG");
            assert_eq!((thumbnail.width(), thumbnail.height()), shown);
        }
        let short = Pixels::new(300, 300, vec![0; 5]);
        assert!(Inspector::default().inspect(&short).is_err());
        assert!(Inspector::default().inspect(&Pixels::new(0, 0, Vec::new())).is_err());
    }

    #[test]
    fn the_hash_survives_other_sizes_and_light_and_tells_pictures_apart() {
        let mut inspector = Inspector::default();
        let mut of = |image: &Pixels| inspector.inspect(image).expect("a whole image");
        let (small, large, other) = (of(&waves(64, 64, 1.0)), of(&waves(400, 400, 1.0)), of(&waves(64, 64, 2.0)));
        let mut bright = waves(64, 64, 1.0);
        bright.data.iter_mut().for_each(|value| *value += 20);
        let bright = of(&bright);
        assert!(distance(&small.hash, &large.hash) <= 8, "{}", distance(&small.hash, &large.hash));
        assert!(distance(&small.hash, &bright.hash) <= 8, "{}", distance(&small.hash, &bright.hash));
        assert!(distance(&small.hash, &other.hash) > 30, "{}", distance(&small.hash, &other.hash));
    }

    #[test]
    fn a_window_meets_the_middle_of_a_moved_or_cropped_picture() {
        let mut inspector = Inspector::default();
        let whole = waves(320, 320, 1.0);
        let part = |left: u32, top: u32, side: u32| {
            let at = |x: u32, y: u32| ((top + y) * 320 + left + x) as usize * 3;
            image(side, side, |x, y| [0, 1, 2].map(|channel| whole.data[at(x, y) + channel]))
        };
        let windows = inspector.inspect(&whole).expect("a whole image").windows;
        assert_eq!(windows.len(), 27);
        // Moved by a pixel of 32: what comes in at the edge is another matter.
        let moved = [(0, 10), (10, 0), (20, 10), (10, 20)].map(|(left, top)| (left, top, 300));
        // Cropped to 90 to 97 %, also at the corners.
        let cropped = [(0, 0, 310), (10, 10, 310), (10, 5, 300), (16, 16, 288), (20, 14, 288), (5, 5, 310)];
        for (left, top, side) in moved.into_iter().chain(cropped) {
            let middle = inspector.inspect(&part(left, top, side)).expect("a whole image").hash;
            let nearest = windows.iter().map(|window| distance(window, &middle)).min().expect("27 windows");
            assert!(nearest <= 14, "{nearest} bits for {side} pixels from {left}, {top}");
        }
    }

    #[test]
    fn blur_lowers_sharpness() {
        let sharp = image(32, 32, |x, y| [if (x / 4 + y / 4) % 2 == 0 { 40 } else { 200 }; 3]);
        let soft = image(32, 32, |x, y| {
            let wave = (x as f32 * std::f32::consts::PI / 8.0).sin() * (y as f32 * std::f32::consts::PI / 8.0).sin();
            [(120.0 + 80.0 * wave) as u8; 3]
        });
        let mut inspector = Inspector::default();
        let mut of = |image| inspector.inspect(image).expect("a whole image").sharpness;
        assert!(of(&sharp) > 5.0 * of(&soft));
    }

    #[test]
    fn a_small_jpeg_file_is_its_own_thumbnail() {
        let show = |width: u32, format: ImageFormat, more: &[u8]| {
            let image = waves(width, 48, 1.0);
            let mut bytes = std::io::Cursor::new(Vec::new());
            let picture = image::RgbImage::from_raw(width, 48, image.data.clone()).expect("whole");
            picture.write_to(&mut bytes, format).expect("encoded");
            let encoded = [bytes.into_inner(), more.to_vec()].concat();
            let (_, shown) = Inspector::default().inspect_and_show(&image, Some(&encoded)).expect("a whole image");
            shown == encoded
        };
        assert!(show(64, ImageFormat::Jpeg, b""));
        assert!(!show(65, ImageFormat::Jpeg, b"") && !show(64, ImageFormat::Png, b""));
        assert!(!show(64, ImageFormat::Jpeg, b"Exif") && !show(64, ImageFormat::Jpeg, &[0; 4096]));
    }
}
