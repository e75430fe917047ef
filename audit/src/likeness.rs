//! Whether two thumbnails show the same picture.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use dismax::image::{Decoding, Limits, Pixels, decode};

use super::inspection::{PerceptualHash, Window, luma};

/// Pixels of a window in each direction when two are compared.
const SIDE: u32 = 16;
/// Pixels of a window in each direction when colours are compared.
const COLOUR_SIDE: u32 = 4;
/// Luma must be correlated by this at least: contrast and light may differ, the picture may not.
const MIN_CORRELATION: f64 = 0.94;
/// Most mean difference of colours, each without its luma, in grey values of 255.
const MAX_COLOUR: f64 = 12.0;
/// Most bits in which the hash of a window that is compared differs from that of the other picture's middle. All of 886
/// planted near duplicates that are alike are so by such a window.
const MAX_WINDOW_BITS: u32 = 24;

/// A thumbnail made ready.
#[derive(Debug)]
pub(super) struct Likeness {
    image: Pixels,
    luma: Vec<u8>,
    hashes: Vec<PerceptualHash>,
}

impl Likeness {
    /// Of a thumbnail as JPEG, and the hashes of all windows of its picture; none where it cannot be decoded.
    pub fn new(jpeg: &[u8], hashes: Vec<PerceptualHash>) -> Option<Self> {
        let image = decode(jpeg, &Limits::default(), Decoding::default()).ok()?;
        Some(Self { luma: luma(&image), image, hashes })
    }

    /// Whether the middle of one of the two is a window of the other.
    pub fn is_like(&self, other: &Self, resizer: &mut Resizer) -> bool {
        self.holds(other, resizer) || other.holds(self, resizer)
    }

    /// Whether the middle of another is a window of this one.
    fn holds(&self, other: &Self, resizer: &mut Resizer) -> bool {
        let middle_hash = other.windows().find(|(window, _)| *window == Window::MIDDLE).map(|(_, hash)| hash);
        let Some(middle_hash) = middle_hash else { return false };
        let is_near = |hash: &u128| (hash ^ middle_hash).count_ones() <= MAX_WINDOW_BITS;
        // Nearly all pairs are no near duplicates: what their luma tells needs no colours.
        let mut middle = None;
        self.windows().filter(|(_, hash)| is_near(hash)).any(|(window, _)| {
            let middle = middle.get_or_insert_with(|| other.luma(Window::MIDDLE, resizer));
            let one = self.luma(window, resizer);
            let is_same =
                one.zip(middle.as_deref()).is_some_and(|(one, other)| correlation(&one, other) >= MIN_CORRELATION);
            is_same && self.differs_in_colour(window, other, resizer).is_some_and(|mean| mean <= MAX_COLOUR)
        })
    }

    fn windows(&self) -> impl Iterator<Item = (Window, u128)> {
        Window::all().zip(self.hashes.iter().map(|hash| u128::from_le_bytes(*hash)))
    }

    /// A window's luma.
    fn luma(&self, window: Window, resizer: &mut Resizer) -> Option<Vec<u8>> {
        self.sample(&self.luma, PixelType::U8, window, SIDE, resizer)
    }

    /// Mean difference of the colours of a window and another picture's middle.
    fn differs_in_colour(&self, window: Window, other: &Self, resizer: &mut Resizer) -> Option<f64> {
        let (one, other) = (self.colours(window, resizer)?, other.colours(Window::MIDDLE, resizer)?);
        let differences = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
        Some(differences.sum::<f64>() / one.len().max(1) as f64)
    }

    /// Red, green and blue minus luma.
    fn colours(&self, window: Window, resizer: &mut Resizer) -> Option<Vec<f64>> {
        let small = self.sample(&self.image.data, PixelType::U8x3, window, COLOUR_SIDE, resizer)?;
        let small = Pixels::new(COLOUR_SIDE, COLOUR_SIDE, small);
        let colours = small.data.chunks_exact(3).zip(luma(&small)).flat_map(|(pixel, luma)| {
            let of = move |value: &u8| f64::from(*value) - f64::from(luma);
            pixel.iter().map(of).collect::<Vec<_>>()
        });
        Some(colours.collect())
    }

    /// A window of the picture's values as `side` x `side` pixels; none for values that do not fit its sides.
    fn sample(
        &self,
        values: &[u8],
        pixel_type: PixelType,
        window: Window,
        side: u32,
        resizer: &mut Resizer,
    ) -> Option<Vec<u8>> {
        let source = ImageRef::new(self.image.width, self.image.height, values, pixel_type).ok()?;
        let mut target = Image::new(side, side, pixel_type);
        let (width, height) = (f64::from(self.image.width), f64::from(self.image.height));
        let ((left, share), (top, _)) = (window.size.span(window.column), window.size.span(window.row));
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        let options = options.crop(left * width, top * height, share * width, share * height);
        resizer.resize(&source, &mut target, &options).ok()?;
        Some(target.into_vec())
    }
}

/// Pearson's correlation of a window's values; 0 where one of the two is constant.
fn correlation(one: &[u8], other: &[u8]) -> f64 {
    let (mut of_one, mut of_other, mut products, mut square_one, mut square_other) = (0, 0, 0, 0, 0);
    for (a, b) in one.iter().zip(other) {
        let (a, b) = (u32::from(*a), u32::from(*b));
        of_one += a;
        of_other += b;
        products += a * b;
        square_one += a * a;
        square_other += b * b;
    }
    let [of_one, of_other, products, square_one, square_other] =
        [of_one, of_other, products, square_one, square_other].map(f64::from);
    let count = one.len() as f64;
    let squares = (count * square_one - of_one * of_one) * (count * square_other - of_other * of_other);
    if squares > 0.0 { (count * products - of_one * of_other) / squares.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspection::Inspector;

    fn likeness(width: u32, pixel: impl Fn(f32, f32) -> [f32; 3]) -> Likeness {
        let side = width as f32;
        let data = (0..width)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| pixel(x as f32 / side, y as f32 / side).map(|value| value.clamp(0.0, 255.0) as u8));
        let image = Pixels::new(width, width, data.collect());
        let (inspection, jpeg) = Inspector::default().inspect_and_show(&image, None).expect("a whole image");
        Likeness::new(&jpeg, inspection.windows).expect("a JPEG")
    }

    fn scene(x: f32, y: f32) -> [f32; 3] {
        let wave = (9.0 * x + 4.0 * (5.0 * y).sin()).sin() + (13.0 * y - 3.0 * x).cos();
        [120.0 + 50.0 * wave, 110.0 + 45.0 * wave, 90.0 + 40.0 * wave]
    }

    #[test]
    fn edits_are_like_and_other_pictures_are_not() {
        let mut resizer = Resizer::new();
        let mut are_like = |one: &Likeness, other: &Likeness| one.is_like(other, &mut resizer);
        let picture = likeness(32, scene);
        for (name, edited) in [
            ("the same", likeness(32, scene)),
            ("larger", likeness(200, scene)),
            ("brighter", likeness(32, |x, y| scene(x, y).map(|value| value + 20.0))),
            ("moved by a pixel", likeness(32, |x, y| scene(x + 1.0 / 32.0, y))),
            ("cropped", likeness(32, |x, y| scene(0.08 + 0.92 * x, 0.92 * y))),
        ] {
            assert!(are_like(&picture, &edited) && are_like(&edited, &picture), "{name}");
        }
        for (name, other) in [
            ("another picture", likeness(32, |x, y| scene(y, 1.0 - x))),
            (
                "other colours",
                likeness(32, |x, y| {
                    let [r, g, b] = scene(x, y);
                    [b, g - 20.0, r + 30.0]
                }),
            ),
            ("one tone", likeness(32, |_, _| [100.0; 3])),
        ] {
            assert!(!are_like(&picture, &other) && !are_like(&other, &picture), "{name}");
        }
        assert!(Likeness::new(b"no JPEG", Vec::new()).is_none());
    }

    #[test]
    fn correlation_by_hand() {
        assert!((correlation(&[1, 2, 3], &[2, 4, 6]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[1, 2, 3], &[6, 4, 2]) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&[5, 5], &[1, 2]), 0.0);
    }
}
