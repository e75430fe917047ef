//! When training images are mirrored left to right.

use std::fmt;
use std::str::FromStr;

use dismax::error::{Error, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::names::by_name;

/// When training images are mirrored left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "NameOrBool")]
pub enum Flip {
    /// Never: right for digits, text and anything that has a left and a right.
    None,
    /// Half of all images, at random in every epoch.
    #[default]
    Random,
    /// Every image in every other epoch, half of them in the first (Jordan 2024, arXiv 2404.00498): an image is seen
    /// both ways equally often.
    Alternating,
}

impl Flip {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Random, Self::Alternating];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Random => "random",
            Self::Alternating => "alternating",
        }
    }

    /// Whether it is an alternation whose turn it is to mirror image number `row` in `epoch`.
    pub(super) fn is_turn(self, seed: u64, row: u64, epoch: usize) -> bool {
        if self != Self::Alternating {
            return false;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(row);
        rng.random::<bool>() ^ !epoch.is_multiple_of(2)
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Flip {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "flip", text)
    }
}

/// Whether images are mirrored at random, or by which rule.
#[derive(Deserialize)]
#[serde(untagged)]
enum NameOrBool {
    Bool(bool),
    Name(String),
}

impl TryFrom<NameOrBool> for Flip {
    type Error = String;

    fn try_from(value: NameOrBool) -> Result<Self, String> {
        match value {
            NameOrBool::Bool(true) => Ok(Self::Random),
            NameOrBool::Bool(false) => Ok(Self::None),
            NameOrBool::Name(name) => name.parse().map_err(|error: Error| error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_mirrored_in_every_other_epoch_and_half_of_them_in_each() {
        let turns = |epoch| (0..1000).map(|row| Flip::Alternating.is_turn(7, row, epoch)).collect::<Vec<_>>();
        let first = turns(0);
        let mirrored = first.iter().filter(|turn| **turn).count();
        assert!((450..550).contains(&mirrored), "{mirrored}");
        assert!(first.iter().zip(turns(1)).all(|(one, other)| *one != other));
        assert_eq!(first, turns(2));
        assert!(!Flip::Random.is_turn(7, 0, 0) && !Flip::None.is_turn(7, 0, 1));
    }

    #[test]
    fn it_is_read_from_a_name_or_a_bool() {
        let read = |text: &str| serde_json::from_str::<Flip>(text).map_err(|error| error.to_string());
        assert_eq!(read("true"), Ok(Flip::Random));
        assert_eq!(read("false"), Ok(Flip::None));
        assert_eq!(read("\"alternating\""), Ok(Flip::Alternating));
        assert!(read("\"sometimes\"").is_err_and(|message| message.contains("none, random, alternating")));
        assert_eq!(serde_json::to_string(&Flip::Alternating).expect("JSON"), "\"alternating\"");
    }
}
