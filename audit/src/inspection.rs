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

use std::fmt;
use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, GrayImage, ImageFormat};
use image_hasher::{HashAlg, Hasher, HasherConfig};

use serde::{Deserialize, Serialize};

use dismax::image::Pixels;
use dismax::{RowError, RowErrorCode};

/// Most pixels of a side of the picture that is measured; larger images are made smaller first.
const WORKING_SIDE: u32 = 256;
/// Most pixels of a side of a thumbnail.
const THUMBNAIL_SIDE: u32 = 64;
/// JPEG quality of thumbnails.
const THUMBNAIL_QUALITY: u8 = 80;
/// Bits of a perceptual hash in each direction; 11 times 11 fit into 16 bytes.
const HASH_SIDE: u32 = 11;
/// Pixels of the picture that is hashed, in each direction: the hash keeps the lower half of its frequencies.
const HASHED_SIDE: u32 = 2 * HASH_SIDE;
/// A perceptual hash: which low frequencies of the picture's luma are above their median (pHash), 121 bits. Few bits
/// differ between two encodings of a picture.
pub type PerceptualHash = [u8; 16];

/// A part of a picture, as shares of its sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    left: f64,
    top: f64,
    side: f64,
}

impl Window {
    /// The part that is hashed: nine tenths of each side, around the middle.
    pub const MIDDLE: Self = Self { left: 0.05, top: 0.05, side: 0.9 };

    /// Sides and steps of [`Window::all`].
    const SIDES: [(f64, f64); 3] = [(0.9, 1.0 / 32.0), (0.865, 0.017), (0.83, 0.033)];

    /// Windows in which the middle of a picture lies that was moved by some pixels, or cropped to nine tenths or more
    /// and made as large as before: three sizes, each at nine places.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        Self::SIDES.into_iter().flat_map(|(side, step)| {
            let at = move |place: i32| (1.0 - side) / 2.0 + f64::from(place) * step;
            (-1..=1).flat_map(move |row| (-1..=1).map(move |column| Self { left: at(column), top: at(row), side }))
        })
    }
}

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

/// What can be said of a decoded image besides its pixels.
///
/// Luma is that of ITU-R BT.709, in [0, 1]. All but the sizes is measured on the picture with at most 256 pixels a
/// side.
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
    /// The picture as JPEG with at most 64 pixels a side.
    pub thumbnail: Vec<u8>,
}

/// Makes inspections; its buffers serve one image after the other. One per worker.
pub struct Inspector {
    resizer: Resizer,
    hasher: Hasher<PerceptualHash>,
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

impl Default for Inspector {
    fn default() -> Self {
        let config = HasherConfig::with_bytes_type::<PerceptualHash>();
        let config = config.hash_size(HASH_SIDE, HASH_SIDE).hash_alg(HashAlg::Median).preproc_dct();
        Self { resizer: Resizer::new(), hasher: config.to_hasher() }
    }
}

impl Inspector {
    /// Inspects an image.
    ///
    /// # Errors
    /// `wrong_shape` when the image's data do not have the length that its sizes ask for.
    pub fn inspect(&mut self, image: &Pixels) -> Result<Inspection, RowError> {
        let (width, height) = (image.width, image.height);
        let working = match fitting(width, height, WORKING_SIDE) {
            (w, h) if (w, h) == (width, height) => None,
            (w, h) => Some(self.resized(image, w, h)?),
        };
        let working = working.as_ref().unwrap_or(image);
        let colour = colour(working);
        let luma = luma(working);
        let (luma_mean, luma_deviation) = mean_and_deviation(luma.iter().map(|&value| f64::from(value)));
        let sharpness = laplacian_variance(&luma, working.width as usize, working.height as usize);
        let grey =
            Image::from_vec_u8(working.width, working.height, luma, PixelType::U8).map_err(|error| wrong(&error))?;
        // Of the file, also where it was decoded at a part of its size.
        let (width, height) = image.stored;
        Ok(Inspection {
            width,
            height,
            luma_mean: (luma_mean / 255.0) as f32,
            luma_deviation: (luma_deviation / 255.0) as f32,
            colour,
            sharpness,
            hash: self.hash(&grey, Window::MIDDLE)?,
            windows: Window::all().map(|window| self.hash(&grey, window)).collect::<Result<_, _>>()?,
            thumbnail: self.thumbnail(working)?,
        })
    }

    fn resized(&mut self, image: &Pixels, width: u32, height: u32) -> Result<Pixels, RowError> {
        let source =
            ImageRef::new(image.width, image.height, &image.data, PixelType::U8x3).map_err(|error| wrong(&error))?;
        let mut target = Image::new(width, height, PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize(&source, &mut target, &options).map_err(|error| wrong(&error))?;
        Ok(Pixels::new(width, height, target.into_vec()))
    }

    fn hash(&mut self, grey: &Image<'_>, window: Window) -> Result<PerceptualHash, RowError> {
        let mut small = Image::new(HASHED_SIDE, HASHED_SIDE, PixelType::U8);
        let options = cut(window, grey.width(), grey.height());
        self.resizer.resize(grey, &mut small, &options).map_err(|error| wrong(&error))?;
        let small =
            GrayImage::from_raw(HASHED_SIDE, HASHED_SIDE, small.into_vec()).ok_or_else(|| wrong(&"too few pixels"))?;
        let mut hash = PerceptualHash::default();
        for (to, from) in hash.iter_mut().zip(self.hasher.hash_image(&small).as_bytes()) {
            *to = *from;
        }
        Ok(hash)
    }

    fn thumbnail(&mut self, image: &Pixels) -> Result<Vec<u8>, RowError> {
        let small = match fitting(image.width, image.height, THUMBNAIL_SIDE) {
            (w, h) if (w, h) == (image.width, image.height) => None,
            (w, h) => Some(self.resized(image, w, h)?),
        };
        let small = small.as_ref().unwrap_or(image);
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, THUMBNAIL_QUALITY)
            .encode(&small.data, small.width, small.height, ExtendedColorType::Rgb8)
            .map_err(|error| wrong(&error))?;
        Ok(jpeg)
    }
}

/// A picture as a small JPEG file, as it stands in reports.
///
/// # Errors
/// A picture whose sides do not fit the number of its values.
pub fn thumbnail(image: &Pixels) -> Result<Vec<u8>, RowError> {
    Inspector::default().thumbnail(image)
}

/// A window of a picture as `side` x `side` pixels.
pub(crate) fn sample(image: &Pixels, window: Window, side: u32, resizer: &mut Resizer) -> Result<Pixels, RowError> {
    let source =
        ImageRef::new(image.width, image.height, &image.data, PixelType::U8x3).map_err(|error| wrong(&error))?;
    let mut target = Image::new(side, side, PixelType::U8x3);
    let options = cut(window, image.width, image.height);
    resizer.resize(&source, &mut target, &options).map_err(|error| wrong(&error))?;
    Ok(Pixels::new(side, side, target.into_vec()))
}

fn cut(window: Window, width: u32, height: u32) -> ResizeOptions {
    let (width, height) = (f64::from(width), f64::from(height));
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
        window.left * width,
        window.top * height,
        window.side * width,
        window.side * height,
    )
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

/// Luma of ITU-R BT.709 as whole numbers from 0 to 255.
pub(crate) fn luma(image: &Pixels) -> Vec<u8> {
    let of = |pixel: &[u8]| {
        let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        // The weights add up to 65,536.
        ((13_933 * red + 46_871 * green + 4_732 * blue + 32_768) >> 16) as u8
    };
    image.data.chunks_exact(3).map(of).collect()
}

/// Mean over the pixels of (largest - smallest channel) / 255.
fn colour(image: &Pixels) -> f32 {
    let range =
        |pixel: &[u8]| u64::from(pixel.iter().max().zip(pixel.iter().min()).map_or(0, |(most, least)| most - least));
    let pixels = image.data.chunks_exact(3);
    let count = pixels.len().max(1) as f64;
    (pixels.map(range).sum::<u64>() as f64 / (255.0 * count)) as f32
}

/// Mean and standard deviation (of the population); 0 and 0 for no values.
fn mean_and_deviation(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    if count == 0.0 {
        return (0.0, 0.0);
    }
    let mean: f64 = sum / count;
    (mean, (squares / count - mean * mean).max(0.0).sqrt())
}

/// Variance of the four-neighbour Laplacian, luma in [0, 1]. At an edge the pixel itself stands in for its missing
/// neighbour.
fn laplacian_variance(luma: &[u8], width: usize, height: usize) -> f32 {
    let row_of = |row: usize| luma.get(row * width..(row + 1) * width).unwrap_or_default();
    let values = (0..height).flat_map(|row| {
        let (above, here) = (row_of(row.saturating_sub(1)), row_of(row));
        let below = row_of((row + 1).min(height - 1));
        here.iter().enumerate().map(move |(column, &value)| {
            let at = |line: &[u8], column: usize| line.get(column).copied().unwrap_or(value);
            let left = at(here, column.wrapping_sub(1));
            let sum = [at(above, column), at(below, column), left, at(here, column + 1)].map(i32::from);
            f64::from(sum.iter().sum::<i32>() - 4 * i32::from(value)) / 255.0
        })
    });
    let (_, deviation) = mean_and_deviation(values);
    (deviation * deviation) as f32
}

fn wrong(why: &dyn fmt::Display) -> RowError {
    RowError::new(RowErrorCode::WrongShape, why.to_string())
}

#[cfg(test)]
mod tests {
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
            let inspection = Inspector::default().inspect(&waves(width, height, 1.0)).expect("a whole image");
            assert_eq!((inspection.width, inspection.height), (width, height));
            let thumbnail =
                image::load_from_memory_with_format(&inspection.thumbnail, ImageFormat::Jpeg).expect("JPEG");
            assert_eq!((thumbnail.width(), thumbnail.height()), shown);
        }
        let short = Pixels::new(300, 300, vec![0; 5]);
        assert!(Inspector::default().inspect(&short).is_err());
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
