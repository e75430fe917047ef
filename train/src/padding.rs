//! What lies beyond the edge of an image that is cropped at random.

use std::fmt;
use std::str::FromStr;

use dismax::error::{Error, Result};
use serde::{Deserialize, Serialize};

use super::names::by_name;

/// What lies beyond the edge of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Black pixels, as in the reference.
    #[default]
    Black,
    /// The image mirrored at its outermost pixel, which is not repeated.
    Reflect,
}

impl Padding {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Black, Self::Reflect];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::Reflect => "reflect",
        }
    }

    /// The row or column, of `length`, that is seen at `at`, which may be up to `length - 1` beyond either end; none
    /// where it is black.
    pub(super) fn source(self, at: i64, length: i64) -> Option<i64> {
        match self {
            Self::Black => Some(at).filter(|at| (0..length).contains(at)),
            Self::Reflect => Some((length - 1) - ((length - 1) - at.abs()).abs()),
        }
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Padding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "padding", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.nn.functional.pad(torch.arange(4.)[None], (3, 3), mode="reflect")`.
    #[test]
    fn reflection_is_pytorchs() {
        let seen: Vec<_> = (-3..7).filter_map(|at| Padding::Reflect.source(at, 4)).collect();
        assert_eq!(seen, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
        let black: Vec<_> = (-1..3).map(|at| Padding::Black.source(at, 2)).collect();
        assert_eq!(black, [None, Some(0), Some(1), None]);
    }
}
