//! The training objective: arXiv 2205.05874, section 3, as the reference computes it.

use dismax::Result;
use dismax::loss::Loss;
use dismax::network::Head;
use tch::{Kind, Reduction, Tensor};

use super::normalization::{scoring_logits, training_logits};

/// What is minimised.
#[derive(Debug, Clone, Copy)]
pub struct Objective {
    /// Loss.
    pub loss: Loss,
    /// Weight of the fractional probability term.
    pub alpha: f64,
}

impl Objective {
    /// Logits `[B, C]` as scoring gives them, and the training objective, one number, of features `[B, D]`.
    ///
    /// `labels [P]` belong to the first `P` rows; the other rows are mixed and `mixed_labels [B - P, 4]` holds the labels
    /// of their quadrants.
    pub fn of_features(
        &self,
        head: &Head,
        features: &Tensor,
        labels: &Tensor,
        mixed_labels: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let logits = scoring_logits(self.loss, head, features)?;
        let training = training_logits(self.loss, head, features, &logits)?;
        let objective = self.of_logits(&training, labels, mixed_labels)?;
        Ok((logits, objective))
    }

    /// The objective of the logits that its softmax takes.
    ///
    /// Without mixed rows this is the mean cross-entropy. With them it is `(CE + alpha * KL(Q || P) / rows) / 2`, where
    /// `Q` gives each quadrant's label 1/4 (method of the reference; the paper prints the KL the other way round, which
    /// would be infinite as `Q` has zeros).
    pub(super) fn of_logits(&self, logits: &Tensor, labels: &Tensor, mixed_labels: &Tensor) -> Result<Tensor> {
        let log_p = logits.f_log_softmax(1, None)?;
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
        let divergence = divergence.f_mul_scalar(self.alpha / mixed as f64)?;
        Ok(cross_entropy.f_add(&divergence)?.f_mul_scalar(0.5)?)
    }
}
