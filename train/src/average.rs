//! An exponential moving average of the weights, which is what is measured and kept.

use dismax::error::Result;
use tch::Tensor;

/// Averages of all parameters and running statistics, each in one vector.
#[derive(Debug)]
pub(super) struct Average {
    parameters: Tensor,
    buffers: Tensor,
    decay: f64,
    /// Steps that have been averaged.
    steps: usize,
}

impl Average {
    /// Begins as these weights, of which a step keeps at most the share `decay`.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn try_new(parameters: &Tensor, buffers: &Tensor, decay: f64) -> Result<Self> {
        let copy = |tensor: &Tensor| -> Result<Tensor> {
            let mut copy = tensor.f_detach()?.f_zeros_like()?;
            copy.f_copy_(&tensor.f_detach()?)?;
            Ok(copy)
        };
        Ok(Self { parameters: copy(parameters)?, buffers: copy(buffers)?, decay, steps: 0 })
    }

    /// Goes on from what was kept after `steps` steps.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn restore(&mut self, parameters: &Tensor, buffers: &Tensor, steps: usize) -> Result<()> {
        self.parameters.f_copy_(parameters)?;
        self.buffers.f_copy_(buffers)?;
        self.steps = steps;
        Ok(())
    }

    /// Takes the weights after a step. Early averages forget faster: `(1 + steps) / (10 + steps)` of them is kept, so
    /// that the first weights do not linger in a short training.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn update(&mut self, parameters: &Tensor, buffers: &Tensor) -> Result<()> {
        let kept = self.decay.min((1 + self.steps) as f64 / (10 + self.steps) as f64);
        tch::no_grad(|| {
            let _ = self.parameters.f_lerp_(parameters, 1.0 - kept)?;
            let _ = self.buffers.f_lerp_(buffers, 1.0 - kept)?;
            Ok::<_, dismax::Error>(())
        })?;
        self.steps += 1;
        Ok(())
    }

    /// Averaged parameters `[P]`.
    pub(super) fn parameters(&self) -> &Tensor {
        &self.parameters
    }

    /// Averaged running statistics `[Q]`.
    pub(super) fn buffers(&self) -> &Tensor {
        &self.buffers
    }
}
