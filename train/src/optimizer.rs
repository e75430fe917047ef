//! Stochastic gradient descent with Nesterov momentum on one flat vector of all parameters.
//!
//! tch's optimiser does not give its momentum out, without which a training cannot be resumed to the same result.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use dismax::error::Result;

/// Settings of the optimiser; the defaults are the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SgdOptions {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the last step's direction that is kept.
    pub momentum: f64,
    /// L2 penalty on all parameters.
    pub weight_decay: f64,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4 }
    }
}

/// Parameters and momentum, each `[P]` f32.
#[derive(Debug)]
pub struct Sgd {
    parameters: Tensor,
    momentum: Tensor,
    options: SgdOptions,
}

impl Sgd {
    /// Begins at `parameters` with the `momentum` of an earlier run, or none.
    pub fn try_new(parameters: Tensor, momentum: Option<Tensor>, options: SgdOptions) -> Result<Self> {
        let momentum = match momentum {
            Some(momentum) => momentum,
            None => parameters.f_zeros_like()?,
        };
        Ok(Self { parameters, momentum, options })
    }

    /// One step down `gradient` `[P]` with `factor` times the peak learning rate (Sutskever et al. 2013 in the form
    /// that PyTorch uses).
    pub fn step(&mut self, gradient: &Tensor, factor: f64) -> Result<()> {
        let SgdOptions { learning_rate, momentum, weight_decay } = self.options;
        let gradient = gradient.f_add(&self.parameters.f_mul_scalar(weight_decay)?)?;
        let _ = self.momentum.f_mul_scalar_(momentum)?;
        let _ = self.momentum.f_add_(&gradient)?;
        let direction = gradient.f_add(&self.momentum.f_mul_scalar(momentum)?)?;
        let _ = self.parameters.f_sub_(&direction.f_mul_scalar(learning_rate * factor)?)?;
        Ok(())
    }

    /// Current parameters `[P]`.
    pub fn parameters(&self) -> &Tensor {
        &self.parameters
    }

    /// Current momentum `[P]`.
    pub fn momentum(&self) -> &Tensor {
        &self.momentum
    }
}

/// All values of `tensors`, one after the other, each row-major: `[P]`.
pub fn flatten(tensors: &[Tensor]) -> Result<Tensor> {
    let flat: Vec<Tensor> = tensors.iter().map(|tensor| tensor.f_reshape([-1])).collect::<Result<_, _>>()?;
    Ok(Tensor::f_cat(&flat, 0)?)
}

/// Copies `flat` (made by [`flatten`]) back into `tensors`.
pub fn unflatten(flat: &Tensor, tensors: &[Tensor]) -> Result<()> {
    tch::no_grad(|| {
        let mut start = 0;
        for tensor in tensors {
            let count = tensor.numel() as i64;
            let mut target = tensor.shallow_clone();
            target.f_copy_(&flat.f_narrow(0, start, count)?.f_view(tensor.size().as_slice())?)?;
            start += count;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `p = torch.tensor([1., -2.], requires_grad=True)`, three steps of
    /// `torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)` on `(p ** 2).sum()`.
    #[test]
    fn three_steps_are_pytorchs() -> Result<()> {
        let options = SgdOptions { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01 };
        let mut sgd = Sgd::try_new(Tensor::f_from_slice(&[1.0f32, -2.0])?, None, options)?;
        let mut by_hand = (1.0f64, 0.0f64);
        for _ in 0..3 {
            let gradient = sgd.parameters().f_mul_scalar(2.0)?;
            sgd.step(&gradient, 1.0)?;
            let g = 2.0 * by_hand.0 + 0.01 * by_hand.0;
            by_hand.1 = 0.9 * by_hand.1 + g;
            by_hand.0 -= 0.1 * (g + 0.9 * by_hand.1);
        }
        let values = Vec::<f32>::try_from(sgd.parameters())?;
        assert!((f64::from(values[0]) - by_hand.0).abs() < 1e-6, "{values:?} {by_hand:?}");
        assert!((f64::from(values[1]) + 2.0 * by_hand.0).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn flatten_and_unflatten_are_inverse() -> Result<()> {
        let tensors = [Tensor::f_from_slice(&[1.0f32, 2.0, 3.0, 4.0])?.f_view([2, 2])?.f_tr()?, Tensor::from(5.0f32)];
        let flat = flatten(&tensors)?;
        assert_eq!(Vec::<f32>::try_from(&flat)?, [1.0, 3.0, 2.0, 4.0, 5.0]);
        unflatten(&flat.f_mul_scalar(2.0)?, &tensors)?;
        assert_eq!(Vec::<f32>::try_from(&flatten(&tensors)?)?, [2.0, 6.0, 4.0, 8.0, 10.0]);
        Ok(())
    }
}
