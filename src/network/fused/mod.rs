//! Convolutions with what follows them in one, for scoring on a CPU.
//!
//! libtorch's plain convolution reorders its weights at each call and leaves the rectifier and the residual sum to
//! passes of their own over memory. Here weights are packed once, when the first image tells its size, for the kernel
//! that suits it:
//! [Winograd's](super::winograd) or one of [oneDNN's](onednn).

mod onednn;

use std::cell::RefCell;
use std::sync::Arc;

use dismax_kernels::Winograd;
use tch::Tensor;

use super::conv::{ConvShape, Epilogue};
use super::winograd;
use crate::error::Result;

/// A convolution with a bias.
#[derive(Debug)]
pub struct FusedConv {
    weight: RefCell<PackedWeight>,
    bias: Tensor,
    shape: ConvShape,
}

/// Only one form is kept: a large network has hundreds of megabytes.
#[derive(Debug)]
enum PackedWeight {
    /// `[C_out, C_in, kernel, kernel]`, not used yet.
    Plain(Tensor),
    OneDnn(Tensor),
    Winograd(Arc<Winograd>),
}

impl PackedWeight {
    /// The same memory under a second owner.
    fn share(&self) -> Self {
        match self {
            Self::Plain(plain) => Self::Plain(plain.shallow_clone()),
            Self::OneDnn(packed) => Self::OneDnn(packed.shallow_clone()),
            Self::Winograd(winograd) => Self::Winograd(Arc::clone(winograd)),
        }
    }
}

impl FusedConv {
    /// Takes f32 weights `[C_out, C_in, kernel, kernel]` and bias `[C_out]` on the CPU; none where this libtorch has no
    /// operators for them.
    pub fn new(weight: &Tensor, bias: &Tensor, shape: ConvShape) -> Option<Self> {
        onednn::is_available().then(|| Self {
            weight: RefCell::new(PackedWeight::Plain(weight.shallow_clone())),
            bias: bias.shallow_clone(),
            shape,
        })
    }

    /// The same convolution for another thread; packed weights are shared.
    pub fn share(&self) -> Self {
        Self { weight: RefCell::new(self.weight.borrow().share()), bias: self.bias.shallow_clone(), shape: self.shape }
    }

    /// `[B, C_in, H, W]` to `[B, C_out, H', W']`, channels-last both.
    pub fn forward(&self, input: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        match self.packed(input)? {
            PackedWeight::Winograd(packed) => winograd::forward(input, &packed, epilogue),
            PackedWeight::OneDnn(packed) | PackedWeight::Plain(packed) => {
                onednn::forward(input, &packed, &self.bias, self.shape, epilogue)
            }
        }
    }

    fn packed(&self, input: &Tensor) -> Result<PackedWeight> {
        let mut weight = self.weight.borrow_mut();
        if let PackedWeight::Plain(plain) = &*weight {
            let (_, _, height, width) = input.size4()?;
            *weight = match winograd::supports(self.shape, height, width) {
                true => PackedWeight::Winograd(Arc::new(winograd::pack(plain, &self.bias, self.shape)?)),
                false => PackedWeight::OneDnn(onednn::pack(plain, self.shape, input)?),
            };
        }
        Ok(weight.share())
    }
}
