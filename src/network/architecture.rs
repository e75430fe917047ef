//! Which networks there are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::{Preprocessing, Resize};

/// The networks that this crate builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Architecture {
    /// ResNet-20 for small images (0.27 million parameters).
    #[serde(rename = "resnet20")]
    Resnet20,
    /// VGG-8 for small images, made for CPUs (1.5 million parameters).
    #[serde(rename = "vgg8")]
    Vgg8,
    /// The reference's ResNet-34 for 32x32 images (21 million parameters).
    #[serde(rename = "resnet34")]
    Resnet34,
    /// DenseNet-BC with depth 100 and growth 12 for 32x32 images (0.77 million parameters).
    #[serde(rename = "densenet-bc100")]
    DensenetBc100,
    /// Wide ResNet 28-10 for 32x32 images (36 million parameters).
    #[serde(rename = "wrn-28-10")]
    Wrn2810,
    /// ImageNet's ResNet-18 for images of about 224x224 (11 million parameters).
    #[serde(rename = "resnet18")]
    Resnet18,
    /// ImageNet's ResNet-34 (21 million parameters).
    #[serde(rename = "resnet34-imagenet")]
    Resnet34Imagenet,
    /// ImageNet's ResNet-50 (24 million parameters).
    #[serde(rename = "resnet50")]
    Resnet50,
    /// ImageNet's ResNet-101 (43 million parameters).
    #[serde(rename = "resnet101")]
    Resnet101,
    /// ImageNet's Wide ResNet-50-2 (67 million parameters).
    #[serde(rename = "wrn-50-2")]
    Wrn502,
}

impl Architecture {
    /// All architectures.
    pub const ALL: [Self; 10] = [
        Self::Resnet20,
        Self::Vgg8,
        Self::Resnet34,
        Self::DensenetBc100,
        Self::Wrn2810,
        Self::Resnet18,
        Self::Resnet34Imagenet,
        Self::Resnet50,
        Self::Resnet101,
        Self::Wrn502,
    ];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resnet20 => "resnet20",
            Self::Vgg8 => "vgg8",
            Self::Resnet34 => "resnet34",
            Self::DensenetBc100 => "densenet-bc100",
            Self::Wrn2810 => "wrn-28-10",
            Self::Resnet18 => "resnet18",
            Self::Resnet34Imagenet => "resnet34-imagenet",
            Self::Resnet50 => "resnet50",
            Self::Resnet101 => "resnet101",
            Self::Wrn502 => "wrn-50-2",
        }
    }

    /// Whether it was made for photographs of about 224x224, as ImageNet's networks were, and not for small images.
    pub const fn is_for_photographs(self) -> bool {
        match self {
            Self::Resnet20 | Self::Vgg8 | Self::Resnet34 | Self::DensenetBc100 | Self::Wrn2810 => false,
            Self::Resnet18 | Self::Resnet34Imagenet | Self::Resnet50 | Self::Resnet101 | Self::Wrn502 => true,
        }
    }

    /// Name of the head in checkpoints: torchvision's and timm's networks say `fc`, the reference's others
    /// `classifier`.
    pub const fn head_name(self) -> &'static str {
        if self.is_for_photographs() { "fc" } else { "classifier" }
    }

    /// Preprocessing for images of `size` (height, width), by default 224x224 for photographs and CIFAR's 32x32 for the
    /// networks that were made for it. Channel statistics are ImageNet's or [`Preprocessing::new`]'s.
    pub fn preprocessing(self, size: Option<(u32, u32)>) -> Preprocessing {
        match (self.is_for_photographs(), size) {
            (true, None) => Preprocessing::imagenet(),
            (true, Some((height, width))) => {
                // ImageNet's proportion of 256 to 224.
                let pixels = height.max(width).saturating_mul(8).div_ceil(7);
                Preprocessing { height, width, resize: Resize::ShorterSide { pixels }, ..Preprocessing::imagenet() }
            }
            (false, size) => {
                let (height, width) = size.unwrap_or((32, 32));
                Preprocessing::new(height, width)
            }
        }
    }

    /// Channels of what each stage gives: the lengths of the parts of pooled features, of which the last are those that
    /// the head sees.
    pub const fn stages(self) -> &'static [usize] {
        match self {
            Self::Resnet20 => &[16, 32, 64],
            Self::Vgg8 => &[48, 192, 256],
            Self::Resnet34 | Self::Resnet18 | Self::Resnet34Imagenet => &[64, 128, 256, 512],
            Self::Resnet50 | Self::Resnet101 | Self::Wrn502 => &[256, 512, 1024, 2048],
            // Blocks before the transition that halves their channels.
            Self::DensenetBc100 => &[216, 300, 342],
            Self::Wrn2810 => &[160, 320, 640],
        }
    }

    /// Smallest height and width that leave at least one pixel at the end, and two in front of the last stride.
    pub const fn smallest_image(self) -> u32 {
        if self.is_for_photographs() { 32 } else { 8 }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|architecture| architecture.name()).collect();
            Error::Config(format!("unknown architecture {text:?}; choose one of {}", names.join(", ")))
        })
    }
}
