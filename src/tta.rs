//! Test-time augmentation: what a score is the average of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which versions of an image are scored. Their logits, before the softmax and before the temperature, are averaged,
/// and so are their features. It belongs to a model's calibration: temperature and thresholds hold for these averages
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tta {
    /// The image.
    #[default]
    None,
    /// The image and its mirror image, left to right. Takes twice as long. Not for digits, text or anything that has a
    /// left and a right.
    Flip,
}

impl Tta {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::None, Self::Flip];

    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Flip => "flip",
        }
    }

    /// Whether the image alone is scored.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl fmt::Display for Tta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tta {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|tta| tta.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Config(format!("unknown test-time augmentation {text:?}; choose one of {names}"))
        })
    }
}
