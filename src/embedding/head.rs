//! What makes logits of whitened embeddings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// From whitened embeddings `z` and class means `m` to logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmbeddingHead {
    /// DisMax: minus the scaled distance of `z/|z|` to `m/|m|`, and the mean of that over all classes (arXiv
    /// 2205.05874, section 3). The direction counts.
    #[default]
    Dismax,
    /// Minus half the squared distance of `z` to `m`: the logarithm of a Gaussian's density. The score `mds` of these
    /// logits is the one of Mahalanobis++ (arXiv 2505.18032). Direction and length count.
    Mahalanobis,
}

impl EmbeddingHead {
    /// All heads.
    pub const ALL: [Self; 2] = [Self::Dismax, Self::Mahalanobis];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dismax => "dismax",
            Self::Mahalanobis => "mahalanobis",
        }
    }
}

impl fmt::Display for EmbeddingHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EmbeddingHead {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|head| head.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Config(format!("unknown head {text:?}; choose one of {names}"))
        })
    }
}
