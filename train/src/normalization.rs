//! From features to the logits of training and of scoring: where a loss normalises, and where it does not.
//!
//! | loss | logits in the training objective | logits in scoring |
//! | --- | --- | --- |
//! | LogitNorm (arXiv 2205.09310) | `z / (0.04 (‖z‖ + 1e-7))` | `z = W f + b` |
//! | T2FNorm (arXiv 2305.17797) | `W (f / ‖f‖) / 0.1 + b` | `(W / 0.1) f + b`: features as they are |
//! | ELogitNorm (arXiv 2504.11434) | `z / mean_k(\|z_k - max z\| / ‖w_k - w_max‖)` | `z = W f + b` |
//! | all others | the entropic scale times the head's | the head's |

use std::collections::HashMap;

use dismax::Result;
use dismax::error::Error;
use dismax::loss::Loss;
use dismax::network::{Head, normalise};
use tch::{Kind, Tensor};

/// LogitNorm's temperature, the paper's for CIFAR-10.
const LOGIT_NORM_TEMPERATURE: f64 = 0.04;
/// Added to the length of logits, as in LogitNorm's published code.
const LOGIT_NORM_EPSILON: f64 = 1e-7;
/// T2FNorm's temperature.
const T2F_NORM_TEMPERATURE: f64 = 0.1;
/// `cdist` without the dot-product identity, which loses half of f32's digits near zero.
const DIRECT_DISTANCES: i64 = 2;
/// Mean distances to the decision boundaries below this count as this: features on all of them have no direction.
const MIN_BOUNDARY_DISTANCE: f64 = 1e-12;

/// Logits `[B, C]` whose softmax the training objective takes, of features `[B, D]`. `logits` are
/// [`scoring_logits`] of the same features.
pub(super) fn training_logits(loss: Loss, head: &Head, features: &Tensor, logits: &Tensor) -> Result<Tensor> {
    match loss {
        Loss::LogitNorm => {
            let norms = logits.f_norm_scalaropt_dim(2.0, [1i64].as_slice(), true)?.f_add_scalar(LOGIT_NORM_EPSILON)?;
            Ok(logits.f_div(&norms)?.f_div_scalar(LOGIT_NORM_TEMPERATURE)?)
        }
        Loss::T2fNorm => head.logits(&normalise(features)?.f_div_scalar(T2F_NORM_TEMPERATURE)?),
        Loss::ELogitNorm => Ok(logits.f_div(&mean_boundary_distances(head, logits)?)?),
        _ => Ok(logits.f_mul_scalar(loss.entropic_scale())?),
    }
}

/// Logits `[B, C]` of features `[B, D]`, as the finished model gives them.
pub(super) fn scoring_logits(loss: Loss, head: &Head, features: &Tensor) -> Result<Tensor> {
    match loss {
        Loss::T2fNorm => head.logits(&features.f_div_scalar(T2F_NORM_TEMPERATURE)?),
        _ => head.logits(features),
    }
}

/// Turns trained weights into those of a plain head, which gives [`scoring_logits`] by itself. `head` is the head's
/// name.
pub(super) fn for_scoring(loss: Loss, head: &str, weights: &mut HashMap<String, Tensor>) -> Result<()> {
    if loss == Loss::T2fNorm {
        let name = format!("{head}.weight");
        let weight = weights.get_mut(&name).ok_or_else(|| Error::Internal(format!("a head without {name}")))?;
        *weight = weight.f_div_scalar(T2F_NORM_TEMPERATURE)?;
    }
    Ok(())
}

/// Mean `[B, 1]` over all classes of the distance from the features to the boundary between that class and the
/// predicted one, which itself counts with 0, as in the published code.
fn mean_boundary_distances(head: &Head, logits: &Tensor) -> Result<Tensor> {
    let Head::Linear { weight, .. } = head else {
        return Err(Error::Internal("decision boundaries are those of a linear head".into()));
    };
    // Without the differences of all pairs, which would take gigabytes with a thousand classes.
    let apart = Tensor::f_cdist(weight, weight, 2.0, DIRECT_DISTANCES)?;
    // 1 instead of 0 between a class and itself.
    let apart = apart.f_add(&Tensor::f_eye(weight.size()[0], (Kind::Float, weight.device()))?)?;
    let (largest, predicted) = logits.f_max_dim(1, true)?;
    let gaps = logits.f_sub(&largest)?.f_abs()?;
    let distances = gaps.f_div(&apart.f_index_select(0, &predicted.f_view([-1])?)?)?;
    Ok(distances.f_mean_dim([1i64].as_slice(), true, None)?.f_clamp_min(MIN_BOUNDARY_DISTANCE)?)
}
