//! What a network expects of an image: size, how it is reached, mean and standard deviation.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use super::decode::Pixels;
use super::decoding::{Decoding, Needed};
use crate::{Error, Result, RowError, RowErrorCode};

/// How an image of any size reaches the network's size. The filter is bilinear with antialiasing, as in Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// The whole image to the target, proportions not kept. An image of that size stays as it is.
    Exact,
    /// The shorter side to `pixels`, proportions kept, then the target's rectangle from the centre: torchvision's
    /// `Resize(pixels)` and `CenterCrop`.
    ShorterSide {
        /// Length of the shorter side before the crop; at least the target's longer side.
        pixels: u32,
    },
}

/// Size, resize rule and normalisation that belong to a network; stored with it.
///
/// Only size and resize rule act here. Images travel as `u8` and become `(value / 255 - mean) / std` on the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Rows that the network takes.
    pub height: u32,
    /// Columns that the network takes.
    pub width: u32,
    /// How other sizes are brought to it.
    pub resize: Resize,
    /// Mean of red, green and blue over the training data, on the scale 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue over the training data, on the scale 0 to 1; each above 0.
    pub std: [f32; 3],
    /// Whether pictures are turned as their EXIF orientation says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub orientation: bool,
    /// Whether large JPEG files are decoded at a part of their size.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reduced: bool,
}

/// Bundles of before have neither key, and keep their digests.
fn is_false(value: &bool) -> bool {
    !value
}

impl Preprocessing {
    /// CIFAR-10: 32 x 32, the reference's mean and standard deviation.
    pub const fn cifar10() -> Self {
        Self {
            height: 32,
            width: 32,
            resize: Resize::Exact,
            mean: [0.491, 0.482, 0.446],
            std: [0.247, 0.243, 0.261],
            ..Self::new(32, 32)
        }
    }

    /// CIFAR-100: 32 x 32, the reference's mean and standard deviation.
    pub const fn cifar100() -> Self {
        Self {
            height: 32,
            width: 32,
            resize: Resize::Exact,
            mean: [0.507, 0.486, 0.440],
            std: [0.267, 0.256, 0.276],
            ..Self::new(32, 32)
        }
    }

    /// ImageNet: shorter side to 256, 224 x 224 from the centre, torchvision's mean and standard deviation.
    pub const fn imagenet() -> Self {
        Self {
            height: 224,
            width: 224,
            resize: Resize::ShorterSide { pixels: 256 },
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            ..Self::new(224, 224)
        }
    }

    /// The whole image to `height` x `width`, with mean 0.5 and standard deviation 0.25 until the data's own are known.
    pub const fn new(height: u32, width: u32) -> Self {
        let (mean, std) = ([0.5; 3], [0.25; 3]);
        Self { height, width, resize: Resize::Exact, mean, std, orientation: false, reduced: false }
    }

    /// How files are decoded for it.
    pub const fn decoding(&self) -> Decoding {
        let needed = match self.resize {
            Resize::Exact => Needed::Sides { width: self.width, height: self.height },
            Resize::ShorterSide { pixels } => Needed::ShorterSide(pixels),
        };
        Decoding { orientation: self.orientation, needed: if self.reduced { Some(needed) } else { None } }
    }

    /// Bytes of one preprocessed image: `height * width * 3`.
    pub const fn image_bytes(&self) -> usize {
        self.height as usize * self.width as usize * 3
    }

    /// Checks what a file or a user may have got wrong.
    ///
    /// # Errors
    /// [`Error::Config`] for a side of 0, a shorter side below the target's, a standard deviation that is not above 0,
    /// or a mean that is not finite.
    pub fn validate(&self) -> Result<()> {
        let Self { height, width, resize, mean, std, orientation: _, reduced: _ } = self;
        if *height == 0 || *width == 0 {
            return Err(Error::Config(format!("preprocessing: {height} x {width} has no pixels")));
        }
        if let Resize::ShorterSide { pixels } = resize
            && pixels < height.max(width)
        {
            return Err(Error::Config(format!(
                "preprocessing: a shorter side of {pixels} pixels is too small to crop {height} x {width} from"
            )));
        }
        if !mean.iter().all(|value| value.is_finite()) || !std.iter().all(|value| value.is_finite() && *value > 0.0) {
            return Err(Error::Config(format!(
                "preprocessing: mean {mean:?} must be finite and standard deviation {std:?} above 0"
            )));
        }
        Ok(())
    }

    /// Writes the preprocessed image, `height * width * 3` values in HWC order, to `out`.
    ///
    /// The resizer is kept by the caller so that its buffers serve the next image too.
    ///
    /// # Errors
    /// `wrong_shape` when `out` or the image's data do not have the length that their sizes ask for, or the resize rule
    /// is not [valid](Self::validate).
    pub fn apply_into(&self, image: &Pixels, resizer: &mut ReusableResizer, out: &mut [u8]) -> Result<(), RowError> {
        if out.len() != self.image_bytes() {
            return Err(wrong(format!("room for {} values, needed {}", out.len(), self.image_bytes())));
        }
        if (image.width, image.height) == (self.width, self.height) && self.resize == Resize::Exact {
            if image.data.len() != out.len() {
                return Err(wrong(format!("{} values, expected {}", image.data.len(), out.len())));
            }
            out.copy_from_slice(&image.data);
            return Ok(());
        }
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        let options = match self.resize {
            Resize::Exact => options,
            Resize::ShorterSide { pixels } => {
                let (full_width, full_height) = resized(image.width, image.height, pixels);
                let (left, width) = source_span(image.width, full_width, self.width)?;
                let (top, height) = source_span(image.height, full_height, self.height)?;
                options.crop(left, top, width, height)
            }
        };
        let source = ImageRef::new(image.width, image.height, &image.data, PixelType::U8x3)
            .map_err(|error| wrong(error.to_string()))?;
        let mut target = Image::from_slice_u8(self.width, self.height, out, PixelType::U8x3)
            .map_err(|error| wrong(error.to_string()))?;
        resizer.resizer.resize(&source, &mut target, &options).map_err(|error| wrong(error.to_string()))
    }
}

/// A resizer whose buffers serve one image after the other. One per worker.
#[derive(Debug, Default)]
pub struct ReusableResizer {
    resizer: Resizer,
}

impl ReusableResizer {
    /// A resizer for the best instruction set of this machine.
    pub fn new() -> Self {
        Self::default()
    }
}

fn wrong(why: String) -> RowError {
    RowError::new(RowErrorCode::WrongShape, why)
}

/// Width and height after torchvision's `Resize(shorter)`: the longer side is cut to whole pixels.
fn resized(width: u32, height: u32, shorter: u32) -> (u64, u64) {
    let (short, long) = (u64::from(width.min(height)).max(1), u64::from(width.max(height)));
    let longer = u64::from(shorter) * long / short;
    if width <= height { (shorter.into(), longer) } else { (longer, shorter.into()) }
}

/// Start and length, in source pixels, of the part of one axis that the centre crop keeps.
///
/// Only that part is resized: a picture of 10,000 x 1 pixels would otherwise become 2,560,000 columns wide first. The
/// filter still sees the pixels next to the part, so the result equals resizing all and cropping then.
fn source_span(source: u32, full: u64, target: u32) -> Result<(f64, f64), RowError> {
    let target = u64::from(target);
    if full < target {
        return Err(wrong(format!("the resize rule leaves {full} pixels of a side, the crop needs {target}")));
    }
    // torchvision: int(round(margin / 2)), where Python rounds halves to the even neighbour.
    let margin = full - target;
    let start = margin / 2 + u64::from(margin % 4 == 3);
    let source = f64::from(source);
    // Exact: these are far below 2^53.
    let per_pixel = source / full as f64;
    let begin = start as f64 * per_pixel;
    Ok((begin, (target as f64 * per_pixel).min(source - begin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: u32, height: u32, colour: [u8; 3]) -> Pixels {
        Pixels::new(width, height, colour.repeat(width as usize * height as usize))
    }

    #[test]
    fn torchvision_sizes() {
        assert_eq!(resized(640, 480, 256), (341, 256));
        assert_eq!(resized(480, 640, 256), (256, 341));
        assert_eq!(resized(100, 100, 256), (256, 256));
        assert_eq!(resized(1, 10_000, 256), (256, 2_560_000));
    }

    #[test]
    fn torchvision_crop_starts() {
        // int(round(m / 2)) for m = 0..8 in Python.
        let starts: Vec<u64> = (0..8u32)
            .map(|margin| source_span(224 + margin, (224 + margin).into(), 224).expect("large enough").0 as u64)
            .collect();
        assert_eq!(starts, [0, 0, 1, 2, 2, 2, 3, 4]);
    }

    #[test]
    fn odd_shapes_keep_their_colour() {
        let mut resizer = ReusableResizer::new();
        for rule in [Preprocessing::imagenet(), Preprocessing::cifar10(), Preprocessing::new(5, 9)] {
            let mut out = vec![0; rule.image_bytes()];
            for (width, height) in [(1, 1), (1, 10_000), (10_000, 1), (3, 2), (224, 224), (256, 257), (31, 33)] {
                rule.apply_into(&plain(width, height, [7, 100, 250]), &mut resizer, &mut out).expect("resizes");
                assert!(out.chunks_exact(3).all(|pixel| pixel == [7, 100, 250]), "{width} x {height} by {rule:?}");
            }
        }
    }

    #[test]
    fn same_size_is_untouched() {
        let rule = Preprocessing::new(2, 3);
        let image = Pixels::new(3, 2, (0..18).collect());
        let mut out = vec![0; 18];
        rule.apply_into(&image, &mut ReusableResizer::new(), &mut out).expect("copies");
        assert_eq!(out, image.data);
    }

    #[test]
    fn lengths_are_checked() {
        let rule = Preprocessing::new(2, 2);
        let mut resizer = ReusableResizer::new();
        let short = Pixels::new(2, 2, vec![0; 11]);
        assert!(rule.apply_into(&short, &mut resizer, &mut [0; 12]).is_err());
        assert!(rule.apply_into(&plain(2, 2, [0; 3]), &mut resizer, &mut [0; 11]).is_err());
        let short = Pixels::new(4, 4, vec![0; 11]);
        assert!(rule.apply_into(&short, &mut resizer, &mut [0; 12]).is_err());
    }

    #[test]
    fn validation() {
        for rule in [Preprocessing::cifar10(), Preprocessing::cifar100(), Preprocessing::imagenet()] {
            rule.validate().expect("built in");
        }
        let too_small = Preprocessing { resize: Resize::ShorterSide { pixels: 200 }, ..Preprocessing::imagenet() };
        assert!(too_small.validate().is_err());
        let image = plain(300, 300, [0; 3]);
        let mut out = vec![0; too_small.image_bytes()];
        assert!(too_small.apply_into(&image, &mut ReusableResizer::new(), &mut out).is_err());
        assert!(Preprocessing::new(0, 3).validate().is_err());
        assert!(Preprocessing { std: [0.2, 0.0, 0.2], ..Preprocessing::cifar10() }.validate().is_err());
        assert!(Preprocessing { mean: [0.2, f32::NAN, 0.2], ..Preprocessing::cifar10() }.validate().is_err());
    }

    #[test]
    fn json_form_is_stable() {
        let json = serde_json::to_value(Preprocessing::imagenet()).expect("plain data");
        assert_eq!(json["resize"], serde_json::json!({"rule": "shorter_side", "pixels": 256}));
        assert_eq!(serde_json::from_value::<Preprocessing>(json).expect("own output"), Preprocessing::imagenet());
        let json = serde_json::to_value(Preprocessing::cifar10()).expect("plain data");
        assert_eq!(json["resize"], serde_json::json!({"rule": "exact"}));
    }
}
