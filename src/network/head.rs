//! Heads that turn features into logits: SoftMax's linear layer, the distances of IsoMax, IsoMax+ and DisMax, and heads
//! that are fitted to whitened features.
//!
//! Macêdo et al., arXiv 2205.05874, section 3; IsoMax: arXiv 1908.05569; IsoMax+: arXiv 2105.14399.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::graph::{HeadNumbers, array};
use super::weights::{Init, WeightPath};
use super::whitened::Whitened;
use crate::embedding::EmbeddingHead;
use crate::error::Result;

/// Norms below this count as this, as in PyTorch's `normalize`.
const MIN_NORM: f64 = 1e-12;
/// `cdist` without the dot-product identity, which loses half of f32's digits near zero.
const DIRECT_DISTANCES: i64 = 2;

/// Which head a network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// A linear layer.
    Softmax,
    /// Minus the distances to the prototypes.
    Isomax,
    /// Minus the scaled distances between normalised features and prototypes.
    IsomaxPlus,
    /// IsoMax+'s distances divided by the root of 2, plus their mean over all prototypes.
    Dismax,
    /// Fitted in closed form to the features of a network that is not trained.
    Whitened(EmbeddingHead),
}

/// A head with its weights.
#[derive(Debug)]
pub enum Head {
    /// A linear layer.
    Linear {
        /// `[C, D]`.
        weight: Tensor,
        /// `[C]`.
        bias: Tensor,
    },
    /// Distances to trained prototypes.
    Distances {
        /// Which of the three.
        kind: HeadKind,
        /// `[C, D]`.
        prototypes: Tensor,
        /// `[1]`, used as its absolute value; IsoMax has none.
        distance_scale: Option<Tensor>,
    },
    /// Distances between whitened features and class means.
    Whitened(Whitened),
}

impl Head {
    /// A head for features of length `features`. Prototypes begin N(0, 1) as in the paper's section 3, IsoMax's at
    /// 0; the distance scale begins at 1.
    pub fn try_new(mut path: WeightPath<'_>, kind: HeadKind, features: i64, classes: usize) -> Result<Self> {
        if let HeadKind::Whitened(head) = kind {
            return Ok(Self::Whitened(Whitened::try_new(path, head, features, classes)?));
        }
        let shape = [classes as i64, features];
        if kind == HeadKind::Softmax {
            let bound = 1.0 / (features as f64).sqrt();
            let weight = path.parameter("weight", &shape, Init::Uniform(bound))?;
            let bias = path.parameter("bias", &shape[..1], Init::Uniform(bound))?;
            return Ok(Self::Linear { weight, bias });
        }
        let distance_scale = match kind {
            HeadKind::Isomax => None,
            _ => Some(path.parameter("distance_scale", &[1], Init::Constant(1.0))?),
        };
        let start = if kind == HeadKind::Isomax { Init::Constant(0.0) } else { Init::Normal(1.0) };
        let prototypes = path.parameter("prototypes", &shape, start)?;
        Ok(Self::Distances { kind, prototypes, distance_scale })
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        match self {
            Self::Linear { weight, bias } => {
                Self::Linear { weight: weight.shallow_clone(), bias: bias.shallow_clone() }
            }
            Self::Distances { kind, prototypes, distance_scale } => Self::Distances {
                kind: *kind,
                prototypes: prototypes.shallow_clone(),
                distance_scale: distance_scale.as_ref().map(Tensor::shallow_clone),
            },
            Self::Whitened(whitened) => Self::Whitened(whitened.share()),
        }
    }

    /// The trainable weights, in the order in which they are built.
    pub fn parameters(&self) -> Vec<&Tensor> {
        match self {
            Self::Linear { weight, bias } => vec![weight, bias],
            Self::Distances { prototypes, distance_scale, .. } => distance_scale.iter().chain([prototypes]).collect(),
            Self::Whitened(_) => Vec::new(),
        }
    }

    /// Its numbers.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub fn numbers(&self) -> Result<HeadNumbers> {
        Ok(match self {
            Self::Linear { weight, bias } => HeadNumbers::Linear { weight: array(weight)?, bias: array(bias)? },
            Self::Whitened(whitened) => HeadNumbers::Whitened(whitened.numbers()?),
            Self::Distances { prototypes, distance_scale: None, .. } => {
                HeadNumbers::Distances { prototypes: array(prototypes)?, scale: None, adds_mean: false }
            }
            Self::Distances { kind, prototypes, distance_scale: Some(scale) } => {
                let factor = if *kind == HeadKind::Dismax { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                let scale = scale.f_abs()?.f_mul_scalar(factor)?.f_double_value(&[0])? as f32;
                let prototypes = array(&normalise(prototypes)?)?;
                HeadNumbers::Distances { prototypes, scale: Some(scale), adds_mean: *kind == HeadKind::Dismax }
            }
        })
    }

    /// Features `[B, D]` f32 to logits `[B, C]` f32, before temperature. Those of distances are at most 0.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        let (kind, prototypes, scale) = match self {
            Self::Linear { weight, bias } => return Ok(features.f_linear(weight, Some(bias))?),
            Self::Whitened(whitened) => return whitened.logits(features),
            Self::Distances { kind, prototypes, distance_scale } => (*kind, prototypes, distance_scale),
        };
        let distances = match scale {
            None => distances(features, prototypes)?,
            Some(scale) => distances(&normalise(features)?, &normalise(prototypes)?)?.f_mul(&scale.f_abs()?)?,
        };
        if kind != HeadKind::Dismax {
            return Ok(distances.f_neg()?);
        }
        let distances = distances.f_mul_scalar(std::f64::consts::FRAC_1_SQRT_2)?;
        // Cancels in every softmax and every gradient; it is there for the scores.
        let mean = distances.f_mean_dim([1i64].as_slice(), true, None)?;
        Ok(distances.f_add(&mean)?.f_neg()?)
    }
}

/// Rows `[N, D]` at length 1.
pub fn normalise(rows: &Tensor) -> Result<Tensor> {
    let norms = rows.f_norm_scalaropt_dim(2.0, [1i64].as_slice(), true)?.f_clamp_min(MIN_NORM)?;
    Ok(rows.f_div(&norms)?)
}

fn distances(features: &Tensor, prototypes: &Tensor) -> Result<Tensor> {
    Ok(Tensor::f_cdist(features, prototypes, 2.0, DIRECT_DISTANCES)?)
}
