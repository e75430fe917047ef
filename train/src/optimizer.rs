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
    /// Share of the learning rate that the weights below the head get, above 0 and at most 1.
    #[serde(default = "whole")]
    pub backbone_rate: f64,
}

const fn whole() -> f64 {
    1.0
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4, backbone_rate: whole() }
    }
}

/// Parameters and momentum, each `[P]` f32.
#[derive(Debug)]
pub struct Sgd {
    parameters: Tensor,
    momentum: Tensor,
    options: SgdOptions,
    rates: Option<Tensor>,
}

impl Sgd {
    /// Begins at `parameters` with the `momentum` of an earlier run, or none. The last `head` parameters are the
    /// head's.
    pub fn try_new(parameters: Tensor, momentum: Option<Tensor>, options: SgdOptions, head: i64) -> Result<Self> {
        let momentum = match momentum {
            Some(momentum) => momentum,
            None => parameters.f_zeros_like()?,
        };
        let rates = rates(&parameters, head, options.backbone_rate)?;
        Ok(Self { parameters, momentum, options, rates })
    }

    /// One step down `gradient` `[P]` with `factor` times the peak learning rate (Sutskever et al. 2013 in the form
    /// that PyTorch uses).
    pub fn step(&mut self, gradient: &Tensor, factor: f64) -> Result<()> {
        let SgdOptions { learning_rate, momentum, weight_decay, .. } = self.options;
        let gradient = gradient.f_add(&self.parameters.f_mul_scalar(weight_decay)?)?;
        let _ = self.momentum.f_mul_scalar_(momentum)?;
        let _ = self.momentum.f_add_(&gradient)?;
        let mut direction = gradient.f_add(&self.momentum.f_mul_scalar(momentum)?)?;
        if let Some(rates) = &self.rates {
            let _ = direction.f_mul_(rates)?;
        }
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

/// [`Sgd`]'s steps on a device: in place, in few passes over memory, with learning rates that lie there before they are
/// needed. Results differ from [`Sgd`]'s by roundings.
#[derive(Debug)]
pub struct DeviceSgd {
    momentum: Tensor,
    options: SgdOptions,
    /// `[1]` each, because a number of the host would be a kernel more.
    weight_decay: Tensor,
    kept: Tensor,
    /// Minus the learning rate and minus its product with the momentum, `[steps, 1]` each.
    planned: [Tensor; 2],
    rates: Option<Tensor>,
}

impl DeviceSgd {
    /// For parameters like these, of which the last `head` are the head's, without momentum yet.
    pub fn try_new(parameters: &Tensor, options: SgdOptions, head: i64) -> Result<Self> {
        let number = |value: f64| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(&[value as f32])?.f_to_device(parameters.device())?)
        };
        Ok(Self {
            momentum: parameters.f_zeros_like()?,
            options,
            weight_decay: number(options.weight_decay)?,
            kept: number(options.momentum)?,
            planned: [number(0.0)?, number(0.0)?],
            rates: rates(parameters, head, options.backbone_rate)?,
        })
    }

    /// Current momentum, `[P]`.
    pub fn momentum(&self) -> &Tensor {
        &self.momentum
    }

    /// The next steps' shares of the peak learning rate.
    pub fn plan(&mut self, factors: &[f64]) -> Result<()> {
        let planned = |by: f64| -> Result<Tensor> {
            let rates: Vec<f32> =
                factors.iter().map(|factor| (-self.options.learning_rate * factor * by) as f32).collect();
            Ok(Tensor::f_from_slice(&rates)?.f_view([-1, 1])?.f_to_device(self.momentum.device())?)
        };
        self.planned = [planned(1.0)?, planned(self.options.momentum)?];
        Ok(())
    }

    /// Step number `step` of the plan: changes `parameters` `[P]`, and `gradient` `[P]` as well.
    pub fn step(&mut self, parameters: &Tensor, gradient: &Tensor, step: usize) -> Result<()> {
        let (mut parameters, mut gradient) = (parameters.shallow_clone(), gradient.shallow_clone());
        let _ = gradient.f_addcmul_(&parameters, &self.weight_decay)?;
        let _ = gradient.f_addcmul_out(&self.momentum, &self.momentum, &self.kept)?;
        let [rate, rate_of_momentum] = self.planned.each_ref().map(|rates| rates.f_select(0, step as i64));
        let mut momentum = self.momentum.shallow_clone();
        if let Some(rates) = &self.rates {
            let _ = gradient.f_mul_(rates)?;
            momentum = momentum.f_mul(rates)?;
        }
        let _ = parameters.f_addcmul_(&gradient, &rate?)?;
        let _ = parameters.f_addcmul_(&momentum, &rate_of_momentum?)?;
        Ok(())
    }
}

/// Each parameter's share of the learning rate, `[P]`; none where all have the whole of it.
fn rates(parameters: &Tensor, head: i64, backbone_rate: f64) -> Result<Option<Tensor>> {
    if backbone_rate == whole() {
        return Ok(None);
    }
    let rates = parameters.f_ones_like()?;
    let below = parameters.numel() as i64 - head;
    let _ = rates.f_narrow(0, 0, below)?.f_fill_(backbone_rate)?;
    Ok(Some(rates))
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
        let options = SgdOptions { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01, ..SgdOptions::default() };
        let mut sgd = Sgd::try_new(Tensor::f_from_slice(&[1.0f32, -2.0])?, None, options, 0)?;
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
    fn steps_in_place_are_those_with_copies() -> Result<()> {
        let options = SgdOptions { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01, backbone_rate: 0.25 };
        let start = || Ok::<_, dismax::Error>(Tensor::f_arange(1000, (tch::Kind::Float, tch::Device::Cpu))?.f_sin()?);
        let (parameters, factors) = (start()?, [0.5, 1.0, 0.25, 0.0]);
        let mut sgd = Sgd::try_new(start()?, None, options, 100)?;
        let mut in_place = DeviceSgd::try_new(&parameters, options, 100)?;
        in_place.plan(&factors)?;
        for (step, factor) in factors.into_iter().enumerate() {
            let gradient = sgd.parameters().f_mul_scalar(2.0)?;
            sgd.step(&gradient, factor)?;
            in_place.step(&parameters, &parameters.f_mul_scalar(2.0)?, step)?;
            for (one, other) in [(sgd.parameters(), &parameters), (sgd.momentum(), in_place.momentum())] {
                let worst = one.f_sub(other)?.f_abs()?.f_max()?.f_double_value(&[])?;
                assert!(worst < 1e-6, "step {step}: {worst}");
            }
        }
        Ok(())
    }

    /// The weights below the head move as if the learning rate were a tenth of what it is.
    #[test]
    fn the_backbone_may_have_a_rate_of_its_own() -> Result<()> {
        let start = || Tensor::f_from_slice(&[1.0f32, -2.0, 3.0]);
        let options = SgdOptions { backbone_rate: 0.1, ..SgdOptions::default() };
        let slow = SgdOptions { learning_rate: 0.01, ..SgdOptions::default() };
        let mut both = Sgd::try_new(start()?, None, options, 1)?;
        let mut singles =
            [Sgd::try_new(start()?, None, slow, 0)?, Sgd::try_new(start()?, None, SgdOptions::default(), 0)?];
        for sgd in [&mut both].into_iter().chain(&mut singles) {
            for _ in 0..3 {
                let gradient = sgd.parameters().f_mul_scalar(2.0)?;
                sgd.step(&gradient, 1.0)?;
            }
        }
        let [slow, fast] = singles.each_ref().map(|sgd| Vec::<f32>::try_from(sgd.parameters()));
        let (both, slow, fast) = (Vec::<f32>::try_from(both.parameters())?, slow?, fast?);
        for (ours, expected) in both.iter().zip([slow[0], slow[1], fast[2]]) {
            assert!((ours - expected).abs() < 1e-6, "{both:?} {slow:?} {fast:?}");
        }
        assert!(fast[0] != slow[0]);
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
