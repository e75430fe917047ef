//! Steps whose gradient is left to libtorch: convolutions that do not suit the kernels here, pooling.

use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// A step and what its gradient is wanted of.
#[derive(Debug)]
pub struct Recorded {
    /// The input, where wanted, then parameters.
    wanted: Vec<Tensor>,
    output: Tensor,
}

impl Recorded {
    /// Records what `compute` makes of `input [N, H, W, C]`, which it gets as `[N, C, H, W]`. Gradients are wanted of
    /// the input, unless it is the network's, and of `parameters`.
    pub fn new(
        input: &Tensor,
        of_input: bool,
        parameters: &[&Tensor],
        compute: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        let input = input.f_detach()?.f_set_requires_grad(of_input)?;
        // The caller may write over what comes out (in `pair`, its gradient takes its place): that is right for
        // convolution and pooling, whose gradients need their inputs and not their outputs, and would be wrong for a
        // rectifier.
        let output =
            tch::with_grad(|| Ok::<_, Error>(compute(&input.f_permute([0, 3, 1, 2])?)?.f_permute([0, 2, 3, 1])?))?;
        let parameters = parameters.iter().map(|tensor| tensor.shallow_clone());
        let wanted = of_input.then(|| input.shallow_clone()).into_iter().chain(parameters).collect();
        Ok(Self { wanted, output })
    }

    /// What came out, `[N, H, W, C]`.
    pub fn output(&self) -> Result<Tensor> {
        Ok(self.output.f_detach()?.f_contiguous()?)
    }

    /// The gradients that are wanted, from that of the output. That of an input is `[N, H, W, C]` and contiguous.
    pub fn backward(&self, gradient: &Tensor) -> Result<Vec<Tensor>> {
        // libtorch's interface here begins at a single number: one whose gradient is the wanted one.
        let product = tch::with_grad(|| Ok::<_, Error>(self.output.f_mul(gradient)?.f_sum(Kind::Float)?))?;
        let gradients = Tensor::f_run_backward(&[product], &self.wanted, false, false)?;
        gradients.into_iter().map(|gradient| Ok(gradient.f_contiguous()?)).collect()
    }
}
