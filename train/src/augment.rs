//! Random changes to training images, on u8 pixels.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use dismax::error::{Error, Result};

use super::flip::Flip;
use super::padding::Padding;

/// What is done to a training image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Augmentation {
    /// Nothing: the image must already have the network's size.
    None,
    /// A crop of the network's size after `padding` pixels were added on every side. The reference's for CIFAR: padding
    /// 4 of black pixels, random flips.
    Crop {
        /// Pixels added on every side.
        padding: u32,
        /// Which images are mirrored left to right.
        flip: Flip,
        /// What the added pixels are.
        #[serde(default)]
        fill: Padding,
        /// Side of a black square at a random place of the result, in pixels; 0 for none. Its centre lies in the image,
        /// not all of it has to: Cutout (DeVries, Taylor, arXiv 1708.04552).
        #[serde(default)]
        cutout: u32,
    },
    /// A crop of 8 to 100 % of the area with an aspect ratio of 3/4 to 4/3, resized: ImageNet's (Szegedy et al., arXiv
    /// 1409.4842).
    ResizedCrop {
        /// Which images are mirrored left to right.
        flip: Flip,
    },
}

/// The part of an image that becomes the network's input; it may reach beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Row of the image at which it begins.
    pub top: i64,
    /// Column at which it begins.
    pub left: i64,
    /// Whether it is mirrored left to right afterwards.
    pub flip: bool,
    /// What is black in the end.
    pub hole: Hole,
}

/// A square of a network's input; it may reach beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hole {
    /// Row at which it begins.
    pub top: i64,
    /// Column at which it begins.
    pub left: i64,
    /// Rows and columns; 0 for no hole.
    pub side: i64,
}

impl Hole {
    fn draw(side: u32, (height, width): (usize, usize), rng: &mut impl Rng) -> Self {
        // Without a hole no number is drawn, so that what follows stays what it was.
        if side == 0 {
            return Self::default();
        }
        let side = i64::from(side);
        let mut start = |length: usize| rng.random_range(0..length as i64) - side / 2;
        Self { top: start(height), left: start(width), side }
    }

    /// Blackens it in an image `[H, W, 3]`.
    fn cut(self, image: &mut [u8], (height, width): (usize, usize)) {
        let part = |start: i64, length: usize| {
            let [from, to] = [start, start + self.side].map(|at| at.clamp(0, length as i64) as usize);
            from..to
        };
        let columns = part(self.left, width);
        for row in part(self.top, height) {
            image[row * width * 3..][columns.start * 3..columns.end * 3].fill(0);
        }
    }
}

impl Window {
    /// A window of an image with `padding` pixels around it. `turn` is an alternation's.
    fn draw((padding, flip, cutout): (u32, Flip, u32), target: (usize, usize), turn: bool, rng: &mut impl Rng) -> Self {
        let mut offset = || rng.random_range(0..=2 * i64::from(padding)) - i64::from(padding);
        let (top, left) = (offset(), offset());
        let flip = is_mirrored(flip, turn, rng);
        Self { top, left, flip, hole: Hole::draw(cutout, target, rng) }
    }
}

fn is_mirrored(flip: Flip, turn: bool, rng: &mut impl Rng) -> bool {
    match flip {
        Flip::None => false,
        Flip::Random => rng.random(),
        Flip::Alternating => turn,
    }
}

impl Augmentation {
    /// Whether pixels only move.
    pub fn only_crops(self) -> bool {
        !matches!(self, Self::ResizedCrop { .. })
    }

    /// Which images are mirrored.
    pub fn flip(self) -> Flip {
        match self {
            Self::None => Flip::None,
            Self::Crop { flip, .. } | Self::ResizedCrop { flip } => flip,
        }
    }

    /// What windows show where they reach beyond the image.
    pub fn fill(self) -> Padding {
        if let Self::Crop { fill, .. } = self { fill } else { Padding::Black }
    }

    /// Side of the black square; 0 for none.
    pub fn cutout(self) -> u32 {
        if let Self::Crop { cutout, .. } = self { cutout } else { 0 }
    }

    /// Draws the next window for a network that wants `target` (height, width); none where images are resized as well.
    /// `turn` is what `Flip::is_turn` says of the image.
    pub fn window(self, target: (usize, usize), turn: bool, rng: &mut impl Rng) -> Option<Window> {
        match self {
            Self::None => Some(Window::default()),
            Self::Crop { padding, flip, cutout, .. } => Some(Window::draw((padding, flip, cutout), target, turn, rng)),
            Self::ResizedCrop { .. } => None,
        }
    }
}

/// Applies an [`Augmentation`]; keeps the resizer's buffers between images.
#[derive(Debug)]
pub struct Augmenter {
    augmentation: Augmentation,
    source: (usize, usize),
    target: (usize, usize),
    resizer: Resizer,
}

impl Augmenter {
    /// For images of `source` (height, width) and a network that wants `target`.
    pub fn new(augmentation: Augmentation, source: (u32, u32), target: (u32, u32)) -> Self {
        let size = |(height, width): (u32, u32)| (height as usize, width as usize);
        Self { augmentation, source: size(source), target: size(target), resizer: Resizer::new() }
    }

    /// Writes a changed copy of `image` (`[H, W, 3]` of the source size) to `out` (of the target size). `turn` is what
    /// `Flip::is_turn` says of the image.
    ///
    /// # Errors
    /// [`Error::Internal`] if a buffer has another size than announced.
    pub fn apply(&mut self, image: &[u8], turn: bool, rng: &mut impl Rng, out: &mut [u8]) -> Result<()> {
        let (height, width) = self.target;
        if image.len() != self.source.0 * self.source.1 * 3 || out.len() != height * width * 3 {
            return Err(Error::Internal("an image in training has another size than announced".into()));
        }
        let (flip, hole) = match self.augmentation.window(self.target, turn, rng) {
            Some(window) => {
                match self.augmentation.fill() {
                    Padding::Black => self.crop(image, window, out),
                    Padding::Reflect => self.reflected_crop(image, window, out),
                }
                (window.flip, window.hole)
            }
            None => {
                self.resized_crop(image, rng, out)?;
                (is_mirrored(self.augmentation.flip(), turn, rng), Hole::default())
            }
        };
        if flip {
            out.chunks_exact_mut(width * 3).for_each(mirror);
        }
        hole.cut(out, self.target);
        Ok(())
    }

    /// Copies the window, unmirrored, black where it reaches beyond the image.
    fn crop(&self, image: &[u8], Window { top: dy, left: dx, .. }: Window, out: &mut [u8]) {
        let (height, width) = (self.source.0 as i64, self.source.1 as i64);
        out.fill(0);
        for (y, row) in (dy..).zip(out.chunks_exact_mut(self.target.1 * 3)) {
            if !(0..height).contains(&y) {
                continue;
            }
            let (from, to) = (dx.max(0), (dx + self.target.1 as i64).min(width));
            if from < to {
                let source = &image[((y * width + from) * 3) as usize..((y * width + to) * 3) as usize];
                row[((from - dx) * 3) as usize..][..source.len()].copy_from_slice(source);
            }
        }
    }

    /// The same with the image mirrored at its edges.
    fn reflected_crop(&self, image: &[u8], Window { top, left, .. }: Window, out: &mut [u8]) {
        let (height, width) = (self.source.0 as i64, self.source.1 as i64);
        let seen = |at, length| Padding::Reflect.source(at, length).expect("a reflection is seen everywhere") as usize;
        for (y, row) in (top..).zip(out.chunks_exact_mut(self.target.1 * 3)) {
            let source = &image[seen(y, height) * self.source.1 * 3..][..self.source.1 * 3];
            for (x, pixel) in (left..).zip(row.chunks_exact_mut(3)) {
                pixel.copy_from_slice(&source[seen(x, width) * 3..][..3]);
            }
        }
    }

    fn resized_crop(&mut self, image: &[u8], rng: &mut impl Rng, out: &mut [u8]) -> Result<()> {
        let (height, width) = (self.source.0 as f64, self.source.1 as f64);
        let window = (0..10).find_map(|_| {
            let area = rng.random_range(0.08..=1.0) * height * width;
            let aspect = rng.random_range((0.75f64).ln()..=(4.0f64 / 3.0).ln()).exp();
            let (w, h) = ((area * aspect).sqrt().round(), (area / aspect).sqrt().round());
            ((1.0..=width).contains(&w) && (1.0..=height).contains(&h))
                .then(|| (rng.random_range(0.0..=width - w).floor(), rng.random_range(0.0..=height - h).floor(), w, h))
        });
        let (left, top, w, h) = window.unwrap_or((0.0, 0.0, width, height));
        let fault = |error: String| Error::Internal(format!("resizing a training image: {error}"));
        let source = ImageRef::new(self.source.1 as u32, self.source.0 as u32, image, PixelType::U8x3)
            .map_err(|error| fault(error.to_string()))?;
        let mut target = Image::from_slice_u8(self.target.1 as u32, self.target.0 as u32, out, PixelType::U8x3)
            .map_err(|error| fault(error.to_string()))?;
        let options =
            ResizeOptions::new().crop(left, top, w, h).resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize(&source, &mut target, &options).map_err(|error| fault(error.to_string()))
    }
}

fn mirror(row: &mut [u8]) {
    let pixels = row.len() / 3;
    for left in 0..pixels / 2 {
        let right = pixels - 1 - left;
        for channel in 0..3 {
            row.swap(left * 3 + channel, right * 3 + channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// 5x4 image whose red is the row, green the column and blue 9.
    fn image() -> Vec<u8> {
        (0..5).flat_map(|y| (0..4).flat_map(move |x| [y + 1, x + 1, 9])).collect()
    }

    fn crop(padding: u32, flip: Flip, fill: Padding, cutout: u32) -> Augmentation {
        Augmentation::Crop { padding, flip, fill, cutout }
    }

    #[test]
    fn a_hole_is_black_and_lies_around_a_pixel_of_the_image() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut augmenter = Augmenter::new(crop(0, Flip::None, Padding::Black, 3), (5, 4), (5, 4));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..500 {
            let mut out = vec![0; 60];
            augmenter.apply(&image(), false, &mut rng, &mut out).unwrap();
            let black: Vec<(usize, usize)> =
                (0..20).filter(|at| out[at * 3..][..3] == [0; 3]).map(|at| (at / 4, at % 4)).collect();
            assert!(
                out.chunks_exact(3).zip(image().chunks_exact(3)).all(|(ours, whole)| ours == whole || ours == [0; 3])
            );
            let centre = (0..5).flat_map(|y| (0..4).map(move |x| (y, x))).find(|&(y, x): &(usize, usize)| {
                let around = (0..20)
                    .map(|at| (at / 4, at % 4))
                    .filter(|&(a, b): &(usize, usize)| a.abs_diff(y) < 2 && b.abs_diff(x) < 2);
                around.eq(black.iter().copied())
            });
            seen.insert(centre.expect("three rows and columns around a pixel"));
        }
        assert_eq!(seen.len(), 20);
    }

    #[test]
    fn none_copies() {
        let mut out = vec![0; 60];
        let mut augmenter = Augmenter::new(Augmentation::None, (5, 4), (5, 4));
        augmenter.apply(&image(), false, &mut ChaCha8Rng::seed_from_u64(1), &mut out).unwrap();
        assert_eq!(out, image());
    }

    #[test]
    fn crops_are_windows_of_the_padded_image() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut augmenter = Augmenter::new(crop(2, Flip::Random, Padding::Black, 0), (5, 4), (5, 4));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..500 {
            let mut out = vec![0; 60];
            augmenter.apply(&image(), false, &mut rng, &mut out).unwrap();
            // Neighbours inside the image differ by one column, mirrored or not, and padding is black.
            for row in out.chunks_exact(12) {
                for pair in row.chunks_exact(3).collect::<Vec<_>>().windows(2) {
                    if pair[0][2] == 9 && pair[1][2] == 9 {
                        assert_eq!(pair[0][0], pair[1][0]);
                        assert_eq!(pair[0][1].abs_diff(pair[1][1]), 1);
                    } else {
                        assert!(pair.iter().all(|pixel| pixel[2] == 9 || *pixel == [0, 0, 0]));
                    }
                }
            }
            seen.insert(out);
        }
        assert_eq!(seen.len(), 5 * 5 * 2);
    }

    #[test]
    fn reflections_show_no_black_and_an_alternation_mirrors_when_it_is_its_turn() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let augmentation = crop(2, Flip::Alternating, Padding::Reflect, 0);
        let mut augmenter = Augmenter::new(augmentation, (5, 4), (5, 4));
        for turn in [false, true] {
            for _ in 0..200 {
                let mut again = rng.clone();
                let mut out = vec![0; 60];
                augmenter.apply(&image(), turn, &mut rng, &mut out).unwrap();
                let Window { top, left, flip, .. } = augmentation.window((5, 4), turn, &mut again).unwrap();
                assert_eq!(flip, turn);
                let expected: Vec<u8> = (top..top + 5)
                    .flat_map(|y| (0..4).map(move |x| (y, if flip { left + 3 - x } else { left + x })))
                    .flat_map(|(y, x)| {
                        let seen = |at, length| Padding::Reflect.source(at, length).unwrap() as u8 + 1;
                        [seen(y, 5), seen(x, 4), 9]
                    })
                    .collect();
                assert_eq!(out, expected);
            }
        }
    }

    #[test]
    fn resized_crops_stay_within_the_image() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut augmenter = Augmenter::new(Augmentation::ResizedCrop { flip: Flip::Random }, (5, 4), (3, 3));
        for _ in 0..200 {
            let mut out = vec![0; 27];
            augmenter.apply(&image(), false, &mut rng, &mut out).unwrap();
            assert!(out.chunks_exact(3).all(|pixel| pixel[2] == 9 && (1..=5).contains(&pixel[0])));
        }
    }

    #[test]
    fn a_wrong_size_is_an_error() {
        let mut augmenter = Augmenter::new(Augmentation::None, (5, 4), (5, 4));
        assert!(augmenter.apply(&[0; 3], false, &mut ChaCha8Rng::seed_from_u64(1), &mut [0; 60]).is_err());
    }
}
