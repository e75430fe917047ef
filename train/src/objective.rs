//! The training objective: arXiv 2205.05874, section 3, as the reference computes it.

use dismax::Result;
use dismax::loss::Loss;
use dismax::network::Head;
use tch::{Device, Kind, Reduction, Tensor};

use super::normalization::{scoring_logits, training_logits};

/// What is minimised.
#[derive(Debug, Clone)]
pub struct ObjectiveOptions {
    /// Loss.
    pub loss: Loss,
    /// Weight of the fractional probability term.
    pub alpha: f64,
    /// How much the rows of each class count; none where all count 1.
    pub class_weights: Option<Vec<f32>>,
    /// Share of a row's target that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// Share of a batch that is mixed, where it has mixed rows.
    pub mixed_share: f64,
}

/// [`ObjectiveOptions`] on a device.
#[derive(Debug)]
pub struct Objective {
    options: ObjectiveOptions,
    /// `[C]`.
    class_weights: Option<Tensor>,
}

impl Objective {
    /// For logits on `device`.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub fn try_new(options: ObjectiveOptions, device: Device) -> Result<Self> {
        let on_device =
            |weights: &Vec<f32>| Tensor::f_from_slice(weights).and_then(|weights| weights.f_to_device(device));
        let class_weights = options.class_weights.as_ref().map(on_device).transpose()?;
        Ok(Self { options, class_weights })
    }

    /// Logits `[B, C]` of features `[B, D]`, as the finished model gives them.
    pub fn scoring_logits(&self, head: &Head, features: &Tensor) -> Result<Tensor> {
        scoring_logits(self.options.loss, head, features)
    }

    /// Logits `[B, C]` as scoring gives them, and the training objective, one number, of features `[B, D]`.
    ///
    /// `labels [P]` belong to the first `P` rows; the other rows are mixed and `mixed_labels [B - P, 4]` holds the
    /// labels of their quadrants.
    pub fn of_features(
        &self,
        head: &Head,
        features: &Tensor,
        labels: &Tensor,
        mixed_labels: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let logits = self.scoring_logits(head, features)?;
        let training = training_logits(self.options.loss, head, features, &logits)?;
        let objective = self.of_logits(&training, labels, mixed_labels)?;
        Ok((logits, objective))
    }

    /// The objective of the logits that its softmax takes.
    ///
    /// Without mixed rows this is the mean cross-entropy. Where a share `s` of the rows is mixed, it is
    /// `(1 - s) * CE + s * alpha * KL(Q || P) / rows`, where `Q` gives each quadrant's label 1/4 (method of the
    /// reference, whose share is 1/2; the paper prints the KL the other way round, which would be infinite as `Q` has
    /// zeros). With class weights a row counts as much as its class, a mixed one as its quadrants' classes do on
    /// average; means are still over the number of rows.
    pub(super) fn of_logits(&self, logits: &Tensor, labels: &Tensor, mixed_labels: &Tensor) -> Result<Tensor> {
        let log_p = logits.f_log_softmax(1, None)?;
        let plain = labels.size()[0];
        let mixed = mixed_labels.size()[0];
        if mixed == 0 {
            return self.cross_entropy(&log_p, labels);
        }
        let cross_entropy = self.cross_entropy(&log_p.f_narrow(0, 0, plain)?, labels)?;
        let divergence = self.divergence(&log_p.f_narrow(0, plain, mixed)?, mixed_labels)?;
        let divergence = divergence.f_mul_scalar(self.options.alpha / mixed as f64)?;
        let share = self.options.mixed_share;
        Ok(cross_entropy.f_mul_scalar(1.0 - share)?.f_add(&divergence.f_mul_scalar(share)?)?)
    }

    /// Mean over the rows of `log_p [P, C]`.
    fn cross_entropy(&self, log_p: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let of_labels = self.negative_log_likelihood(log_p, labels)?;
        let smoothing = self.options.label_smoothing;
        if smoothing == 0.0 {
            return Ok(of_labels);
        }
        // The same against a target that is even over all classes.
        let rows = log_p.f_mean_dim([1i64].as_slice(), false, None)?.f_neg()?;
        let rows = match &self.class_weights {
            Some(weights) => rows.f_mul(&weights.f_index_select(0, labels)?)?,
            None => rows,
        };
        Ok(of_labels.f_mul_scalar(1.0 - smoothing)?.f_add(&rows.f_mean(None)?.f_mul_scalar(smoothing)?)?)
    }

    fn negative_log_likelihood(&self, log_p: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let Some(weights) = &self.class_weights else {
            return Ok(log_p.f_nll_loss(labels, None::<Tensor>, Reduction::Mean, -100)?);
        };
        // libtorch's own mean would be over the sum of the batch's weights, which differs from batch to batch.
        let sum = log_p.f_nll_loss(labels, Some(weights), Reduction::Sum, -100)?;
        Ok(sum.f_div_scalar(labels.size()[0])?)
    }

    /// `KL(Q || P)`, summed over the rows of `log_p [M, C]`.
    fn divergence(&self, log_p: &Tensor, mixed_labels: &Tensor) -> Result<Tensor> {
        let device = log_p.device();
        let quarters = Tensor::f_full(mixed_labels.size(), 0.25, (Kind::Float, device))?;
        let target = Tensor::f_zeros(log_p.size(), (Kind::Float, device))?;
        let target = target.f_scatter_add(1, mixed_labels, &quarters)?;
        // kl_div takes 0 log 0 as 0.
        let Some(weights) = &self.class_weights else { return Ok(log_p.f_kl_div(&target, Reduction::Sum, false)?) };
        let rows =
            log_p.f_kl_div(&target, Reduction::None, false)?.f_sum_dim_intlist([1i64].as_slice(), false, None)?;
        Ok(rows.f_mul(&target.f_mv(weights)?)?.f_sum(None)?)
    }
}
