//! Backpropagation of residual and of plain networks written out, for training on one thread of a CPU.
//!
//! Nearly all of their convolutions suit Winograd's algorithm, of which libtorch's autograd knows nothing, and whose
//! gradients are Winograd convolutions too. Batch norm, residual sum and rectifier become one step each way. What does
//! not suit is
//! [left to autograd](recorded). Measured by `benches/compare` (section `train`) beside PyTorch.
//!
//! Tensors in this room are `[N, H, W, C]`, contiguous.

mod pair;
mod plain;
mod recorded;
mod residual;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "networks are made here")]
mod tests;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// Whether a network is trained this way on what its images lie on. The kernels take one thread: where libtorch has
/// several, it is left to use them.
pub fn suits(images: &Tensor) -> bool {
    let is_plain = images.device() == Device::Cpu && images.kind() == Kind::Float;
    is_plain && tch::get_num_threads() == 1 && dismax_kernels::is_available()
}

/// A network whose backward pass is written here. Both passes are called without autograd.
pub trait WrittenOut {
    /// What the forward pass keeps for the backward pass.
    type Tape;

    /// Normalised images `[B, 3, H, W]` to features `[B, D]`, in training.
    fn forward(&self, images: &Tensor) -> Result<(Tensor, Self::Tape)>;

    /// Gradients of all parameters, in the order in which they were built, from that of the features `[B, D]`.
    fn backward(&self, tape: Self::Tape, features: &Tensor) -> Result<Vec<Tensor>>;
}

/// Images `[B, 3, H, W]` as `[B, H, W, 3]`.
fn rows_of(images: &Tensor) -> Result<Tensor> {
    Ok(images.f_permute([0, 2, 3, 1])?.f_contiguous()?)
}

/// The mean over height and width: `[B, H, W, C]` to `[B, C]`.
fn mean(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_mean_dim([1i64, 2].as_slice(), false, None)?)
}

/// The gradient of what [`mean`] got, whose size was this, from that of the means.
fn of_mean(means: &Tensor, size: &[i64]) -> Result<Tensor> {
    let &[count, height, width, channels] = size else {
        return Err(Error::Internal(format!("{size:?} is no size of a batch of images")));
    };
    let mean = means.f_div_scalar((height * width) as f64)?.f_view([count, 1, 1, channels])?;
    Ok(mean.f_expand(size, false)?.f_contiguous()?)
}

fn no_gradient() -> Error {
    Error::Internal("a gradient is missing".into())
}
