//! Whether two thumbnails show the same picture.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use dismax::image::{Decoding, Limits, Pixels, decode};

use super::inspection::{Window, luma};

/// Pixels of a window in each direction when two are compared.
const SIDE: u32 = 16;
/// Pixels of a window in each direction when colours are compared.
const COLOUR_SIDE: u32 = 4;
/// Luma must be correlated by this at least: contrast and light may differ, the picture may not.
const MIN_CORRELATION: f64 = 0.94;
/// Most mean difference of colours, each without its luma, in grey values of 255.
const MAX_COLOUR: f64 = 12.0;

/// A thumbnail made ready: its middle, and its windows.
#[derive(Debug)]
pub(super) struct Likeness {
    middle: Part,
    windows: Vec<Part>,
}

/// What is compared of a window.
#[derive(Debug)]
struct Part {
    luma: Vec<u8>,
    /// Red, green and blue minus luma.
    colour: Vec<f64>,
}

impl Likeness {
    /// Of a thumbnail as JPEG; none where it cannot be decoded.
    pub fn new(jpeg: &[u8], resizer: &mut Resizer) -> Option<Self> {
        let image = decode(jpeg, &Limits::default(), Decoding::default()).ok()?;
        let mut part = |window| Part::new(&image, window, resizer);
        Some(Self { middle: part(Window::MIDDLE)?, windows: Window::all().map(part).collect::<Option<_>>()? })
    }

    /// Whether the middle of one of the two is a window of the other.
    pub fn is_like(&self, other: &Self) -> bool {
        self.windows.iter().any(|window| window.is_like(&other.middle))
            || other.windows.iter().any(|window| window.is_like(&self.middle))
    }
}

impl Part {
    fn new(image: &Pixels, window: Window, resizer: &mut Resizer) -> Option<Self> {
        let small = sample(image, window, SIDE, resizer)?;
        let smaller = sample(image, window, COLOUR_SIDE, resizer)?;
        let colour = smaller.data.chunks_exact(3).zip(luma(&smaller)).flat_map(|(pixel, luma)| {
            let of = move |value: &u8| f64::from(*value) - f64::from(luma);
            pixel.iter().map(of).collect::<Vec<_>>()
        });
        Some(Self { luma: luma(&small), colour: colour.collect() })
    }

    fn is_like(&self, other: &Self) -> bool {
        let differences = self.colour.iter().zip(&other.colour).map(|(a, b)| (a - b).abs());
        let colour = differences.sum::<f64>() / self.colour.len().max(1) as f64;
        colour <= MAX_COLOUR && correlation(&self.luma, &other.luma) >= MIN_CORRELATION
    }
}

/// A window of a picture as `side` x `side` pixels; none for a picture whose sides do not fit its values.
fn sample(image: &Pixels, window: Window, side: u32, resizer: &mut Resizer) -> Option<Pixels> {
    let source = ImageRef::new(image.width, image.height, &image.data, PixelType::U8x3).ok()?;
    let mut target = Image::new(side, side, PixelType::U8x3);
    let (width, height) = (f64::from(image.width), f64::from(image.height));
    let ((left, share), (top, _)) = (window.size.span(window.column), window.size.span(window.row));
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let options = options.crop(left * width, top * height, share * width, share * height);
    resizer.resize(&source, &mut target, &options).ok()?;
    Some(Pixels::new(side, side, target.into_vec()))
}

/// Pearson's correlation; 0 where one of the two is constant.
fn correlation(one: &[u8], other: &[u8]) -> f64 {
    let mean = |values: &[u8]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64;
    let (mean_one, mean_other) = (mean(one), mean(other));
    let (mut product, mut square_one, mut square_other) = (0.0, 0.0, 0.0);
    for (a, b) in one.iter().zip(other) {
        let (a, b) = (f64::from(*a) - mean_one, f64::from(*b) - mean_other);
        product += a * b;
        square_one += a * a;
        square_other += b * b;
    }
    let scale: f64 = (square_one * square_other).sqrt();
    if scale > 0.0 { product / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspection::thumbnail;

    fn jpeg(width: u32, pixel: impl Fn(f32, f32) -> [f32; 3]) -> Vec<u8> {
        let side = width as f32;
        let data = (0..width)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| pixel(x as f32 / side, y as f32 / side).map(|value| value.clamp(0.0, 255.0) as u8));
        let image = Pixels::new(width, width, data.collect());
        thumbnail(&image).expect("a whole image")
    }

    fn scene(x: f32, y: f32) -> [f32; 3] {
        let wave = (9.0 * x + 4.0 * (5.0 * y).sin()).sin() + (13.0 * y - 3.0 * x).cos();
        [120.0 + 50.0 * wave, 110.0 + 45.0 * wave, 90.0 + 40.0 * wave]
    }

    #[test]
    fn edits_are_like_and_other_pictures_are_not() {
        let mut resizer = Resizer::new();
        let mut of = |jpeg: Vec<u8>| Likeness::new(&jpeg, &mut resizer).expect("a JPEG");
        let picture = of(jpeg(32, scene));
        for (name, edited) in [
            ("the same", of(jpeg(32, scene))),
            ("larger", of(jpeg(200, scene))),
            ("brighter", of(jpeg(32, |x, y| scene(x, y).map(|value| value + 20.0)))),
            ("moved by a pixel", of(jpeg(32, |x, y| scene(x + 1.0 / 32.0, y)))),
            ("cropped", of(jpeg(32, |x, y| scene(0.08 + 0.92 * x, 0.92 * y)))),
        ] {
            assert!(picture.is_like(&edited) && edited.is_like(&picture), "{name}");
        }
        for (name, other) in [
            ("another picture", of(jpeg(32, |x, y| scene(y, 1.0 - x)))),
            (
                "other colours",
                of(jpeg(32, |x, y| {
                    let [r, g, b] = scene(x, y);
                    [b, g - 20.0, r + 30.0]
                })),
            ),
            ("one tone", of(jpeg(32, |_, _| [100.0; 3]))),
        ] {
            assert!(!picture.is_like(&other) && !other.is_like(&picture), "{name}");
        }
        assert!(Likeness::new(b"no JPEG", &mut Resizer::new()).is_none());
    }

    #[test]
    fn correlation_by_hand() {
        assert!((correlation(&[1, 2, 3], &[2, 4, 6]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[1, 2, 3], &[6, 4, 2]) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&[5, 5], &[1, 2]), 0.0);
    }
}
