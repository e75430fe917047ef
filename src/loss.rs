//! Training losses: arXiv 2205.05874, section 3, as the reference computes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use crate::error::{Error, Result};
use crate::head::HeadKind;

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
}

impl Loss {
    /// All losses.
    pub const ALL: [Self; 5] = [Self::Softmax, Self::Isomax, Self::IsomaxPlus, Self::Dismax, Self::DismaxDagger];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Isomax => "isomax",
            Self::IsomaxPlus => "isomax-plus",
            Self::Dismax => "dismax",
            Self::DismaxDagger => "dismax-dagger",
        }
    }

    /// The head that belongs to it.
    pub const fn head(self) -> HeadKind {
        match self {
            Self::Softmax => HeadKind::Softmax,
            Self::Isomax => HeadKind::Isomax,
            Self::IsomaxPlus => HeadKind::IsomaxPlus,
            Self::Dismax | Self::DismaxDagger => HeadKind::Dismax,
        }
    }

    /// Factor on the logits in training only. At inference it is left out (paper, section 3).
    pub const fn entropic_scale(self) -> f64 {
        match self {
            Self::Softmax => 1.0,
            _ => 10.0,
        }
    }

    /// Whether half of each batch is mixed from quadrants.
    pub const fn fractional_probability(self) -> bool {
        matches!(self, Self::DismaxDagger)
    }

    /// Training objective of a batch, one number.
    ///
    /// `logits [B, C]`; `labels [P]` belong to its first `P` rows; the other rows are mixed and `mixed_labels [B - P, 4]`
    /// holds the labels of their quadrants. Without mixed rows this is the mean cross-entropy of the scaled logits. With
    /// them it is `(CE + alpha * KL(Q || P) / rows) / 2`, where `Q` gives each quadrant's label 1/4 (method of the
    /// reference; the paper prints the KL the other way round, which would be infinite as `Q` has zeros).
    pub fn objective(self, logits: &Tensor, labels: &Tensor, mixed_labels: &Tensor, alpha: f64) -> Result<Tensor> {
        let log_p = logits.f_mul_scalar(self.entropic_scale())?.f_log_softmax(1, None)?;
        let plain = labels.size()[0];
        let mixed = mixed_labels.size()[0];
        let cross_entropy = |log_p: &Tensor| log_p.f_nll_loss(labels, None::<Tensor>, Reduction::Mean, -100);
        if mixed == 0 {
            return Ok(cross_entropy(&log_p)?);
        }
        let cross_entropy = cross_entropy(&log_p.f_narrow(0, 0, plain)?)?;
        let quarters = Tensor::f_full([mixed, 4], 0.25, (Kind::Float, logits.device()))?;
        let target = Tensor::f_zeros([mixed, logits.size()[1]], (Kind::Float, logits.device()))?;
        let target = target.f_scatter_add(1, mixed_labels, &quarters)?;
        // kl_div takes 0 log 0 as 0.
        let divergence = log_p.f_narrow(0, plain, mixed)?.f_kl_div(&target, Reduction::Sum, false)?;
        let divergence = divergence.f_mul_scalar(alpha / mixed as f64)?;
        Ok(cross_entropy.f_add(&divergence)?.f_mul_scalar(0.5)?)
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
