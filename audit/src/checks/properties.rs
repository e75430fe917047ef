//! What is measured of every image.

use serde::{Deserialize, Serialize};

use crate::collect::Look;
use crate::inspection::EncodedFormat;

/// A property of an image that no network is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// Number of pixels.
    Size,
    /// Width divided by height.
    Proportions,
    /// Mean luma in [0, 1].
    Light,
    /// Standard deviation of the luma in [0, 0.5].
    Contrast,
    /// Variance of the Laplacian of the luma.
    Sharpness,
    /// Mean over the pixels of (largest - smallest channel) / 255, in [0, 1]: 0 is grey.
    Colour,
    /// Bytes of the encoded image: with the size, how strongly it is compressed.
    Bytes,
    /// Format of the bytes.
    Format,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Size,
        Self::Proportions,
        Self::Light,
        Self::Contrast,
        Self::Sharpness,
        Self::Colour,
        Self::Bytes,
        Self::Format,
    ];
    /// The formats, in the order of their numbers.
    pub(crate) const FORMATS: [EncodedFormat; 6] = [
        EncodedFormat::Jpeg,
        EncodedFormat::Png,
        EncodedFormat::WebP,
        EncodedFormat::Gif,
        EncodedFormat::Bmp,
        EncodedFormat::Tiff,
    ];

    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Proportions => "proportions",
            Self::Light => "light",
            Self::Contrast => "contrast",
            Self::Sharpness => "sharpness",
            Self::Colour => "colour",
            Self::Bytes => "bytes",
            Self::Format => "format",
        }
    }

    /// The property as a number; none where it is none, or where it is not known.
    pub(crate) fn number(self, look: &Look) -> Option<f32> {
        match self {
            Self::Size => Some(look.width as f32 * look.height as f32),
            Self::Proportions => Some(look.width as f32 / look.height as f32),
            Self::Light => Some(look.luma_mean),
            Self::Contrast => Some(look.luma_deviation),
            Self::Sharpness => Some(look.sharpness),
            Self::Colour => Some(look.colour),
            // Unencoded pixels have none.
            Self::Bytes => Some(look.bytes).filter(|bytes| *bytes > 0).map(|bytes| bytes as f32),
            Self::Format => None,
        }
        .filter(|number| number.is_finite())
    }

    /// The property as one of several kinds: the position of the format in [`Property::FORMATS`].
    pub(crate) fn category(self, look: &Look) -> Option<usize> {
        match self {
            Self::Format => Self::FORMATS.iter().position(|format| Some(*format) == look.format),
            _ => None,
        }
    }

    /// A value of it in words.
    pub(crate) fn words(self, value: f64) -> String {
        match self {
            Self::Size => format!("{value:.0} pixels"),
            Self::Bytes => format!("{value:.0} bytes"),
            Self::Proportions => format!("{value:.2}"),
            Self::Sharpness => format!("{value:.5}"),
            _ => format!("{value:.3}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_a_number_or_a_category() {
        let look = Look {
            width: 30,
            height: 20,
            luma_mean: 0.5,
            luma_deviation: 0.1,
            colour: 0.2,
            sharpness: 0.01,
            bytes: 700,
            hash: [0; 16],
            format: Some(EncodedFormat::Gif),
        };
        let numbers: Vec<Option<f32>> = Property::ALL.iter().map(|property| property.number(&look)).collect();
        let expected = [600.0, 1.5, 0.5, 0.1, 0.01, 0.2, 700.0].map(Some).into_iter().chain([None]);
        assert_eq!(numbers, expected.collect::<Vec<_>>());
        let categories: Vec<_> = Property::ALL.iter().filter_map(|property| property.category(&look)).collect();
        assert_eq!(categories, [3]);
        for property in Property::ALL {
            assert_eq!(serde_json::to_value(property).expect("a name"), property.name());
        }
        assert_eq!(Property::Bytes.number(&Look { bytes: 0, ..look }), None);
    }
}
