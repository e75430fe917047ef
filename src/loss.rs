//! Names of the losses that networks are trained with, and what scoring needs to know of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::embedding::EmbeddingHead;
use crate::error::{Error, Result};
use crate::network::HeadKind;

/// What a network is trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Linear layer and cross-entropy.
    Softmax,
    /// IsoMax (arXiv 1908.05569).
    Isomax,
    /// IsoMax+ (arXiv 2105.14399).
    IsomaxPlus,
    /// DisMax without fractional probability regularization.
    Dismax,
    /// DisMax with fractional probability regularization, the paper's DisMax†.
    DismaxDagger,
    /// LogitNorm (arXiv 2205.09310): in the loss, and there alone, logits are divided by their length.
    #[serde(rename = "logitnorm")]
    LogitNorm,
    /// T2FNorm (arXiv 2305.17797): in training, and there alone, features are divided by their length.
    #[serde(rename = "t2fnorm")]
    T2fNorm,
    /// ELogitNorm (arXiv 2504.11434): in the loss, and there alone, logits are divided by the features' mean distance
    /// to the decision boundaries.
    #[serde(rename = "elogitnorm")]
    ELogitNorm,
    /// No loss: the DisMax head was fitted in closed form to the features of a network that is not trained.
    FittedDismax,
    /// No loss: the Mahalanobis head was fitted so.
    FittedMahalanobis,
}

impl Loss {
    /// All losses that a network can be trained with.
    pub const ALL: [Self; 8] = [
        Self::Softmax,
        Self::Isomax,
        Self::IsomaxPlus,
        Self::Dismax,
        Self::DismaxDagger,
        Self::LogitNorm,
        Self::T2fNorm,
        Self::ELogitNorm,
    ];

    /// What stands for a head that is fitted in closed form.
    pub const fn fitted(head: EmbeddingHead) -> Self {
        match head {
            EmbeddingHead::Dismax => Self::FittedDismax,
            EmbeddingHead::Mahalanobis => Self::FittedMahalanobis,
        }
    }

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Isomax => "isomax",
            Self::IsomaxPlus => "isomax-plus",
            Self::Dismax => "dismax",
            Self::DismaxDagger => "dismax-dagger",
            Self::FittedDismax => "fitted-dismax",
            Self::FittedMahalanobis => "fitted-mahalanobis",
            Self::LogitNorm => "logitnorm",
            Self::T2fNorm => "t2fnorm",
            Self::ELogitNorm => "elogitnorm",
        }
    }

    /// The head that belongs to it.
    pub const fn head(self) -> HeadKind {
        match self {
            Self::Softmax | Self::LogitNorm | Self::T2fNorm | Self::ELogitNorm => HeadKind::Softmax,
            Self::Isomax => HeadKind::Isomax,
            Self::IsomaxPlus => HeadKind::IsomaxPlus,
            Self::Dismax | Self::DismaxDagger => HeadKind::Dismax,
            Self::FittedDismax => HeadKind::Whitened(EmbeddingHead::Dismax),
            Self::FittedMahalanobis => HeadKind::Whitened(EmbeddingHead::Mahalanobis),
        }
    }

    /// Factor on the logits in training only. At inference it is left out (paper, section 3).
    pub const fn entropic_scale(self) -> f64 {
        match self.head() {
            HeadKind::Softmax | HeadKind::Whitened(_) => 1.0,
            HeadKind::Isomax | HeadKind::IsomaxPlus | HeadKind::Dismax => 10.0,
        }
    }

    /// Whether half of each batch is mixed from quadrants.
    pub const fn fractional_probability(self) -> bool {
        matches!(self, Self::DismaxDagger)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Loss {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|loss| loss.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|loss| loss.name()).collect();
            Error::Config(format!("unknown loss {text:?}; choose one of {}", names.join(", ")))
        })
    }
}
