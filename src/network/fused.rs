//! oneDNN's convolutions with what follows them, for scoring on a CPU.
//!
//! libtorch's plain convolution reorders its weights at each call and leaves the rectifier and the residual sum to passes of their
//! own over memory. oneDNN does all of it in one, on weights packed once. libtorch has operators for that, which its own compiler
//! uses, and no function of its C++ interface; a TorchScript module calls them by name (`scripts/make_fused_kernels.py` wrote it).
//!
//! On two cores with AVX2, ResNet-20 on 32x32: 1.12 times the images of the plain channels-last path end to end (median of 5 runs in
//! turn), 1.14 to 1.22 times in the network alone on one thread.

use std::cell::RefCell;
use std::sync::OnceLock;

use tch::{CModule, IValue, Tensor};

use super::layers::ConvShape;
use crate::error::{Error, Result};

/// The module; no weights are in it.
const MODULE: &[u8] = include_bytes!("fused_kernels.pt");

/// The operators, shared by all networks of the process. None where this libtorch is built without oneDNN.
fn module() -> Option<&'static CModule> {
    static MODULE_ONCE: OnceLock<Option<CModule>> = OnceLock::new();
    MODULE_ONCE.get_or_init(|| CModule::load_data(&mut &*MODULE).ok()).as_ref()
}

/// What comes after a convolution.
#[derive(Debug)]
pub enum After<'a> {
    /// Nothing.
    Nothing,
    /// The rectifier.
    Relu,
    /// The sum with this, which is overwritten, and the rectifier.
    AddRelu(&'a Tensor),
}

/// A convolution with a bias whose weights are packed when it is first used: the size of its input decides how.
#[derive(Debug)]
pub struct FusedConv {
    module: &'static CModule,
    weight: RefCell<Weight>,
    bias: Tensor,
    shape: ConvShape,
}

#[derive(Debug)]
enum Weight {
    /// `[C_out, C_in, kernel, kernel]`.
    Plain(Tensor),
    /// In oneDNN's own layout. Only one of the two is kept: a large network has hundreds of megabytes.
    Packed(Tensor),
}

impl FusedConv {
    /// Takes f32 weights `[C_out, C_in, kernel, kernel]` and bias `[C_out]` on the CPU; none where there are no operators for them.
    pub fn new(weight: &Tensor, bias: &Tensor, shape: ConvShape) -> Option<Self> {
        let (weight, bias) = (weight.shallow_clone(), bias.shallow_clone());
        Some(Self { module: module()?, weight: RefCell::new(Weight::Plain(weight)), bias, shape })
    }

    /// `[B, C_in, H, W]` to `[B, C_out, H', W']`, channels-last both.
    pub fn forward(&self, input: &Tensor, after: After<'_>) -> Result<Tensor> {
        let tensor = |tensor: &Tensor| IValue::Tensor(tensor.shallow_clone());
        let mut arguments = vec![tensor(input), IValue::Tensor(self.packed(input)?), tensor(&self.bias)];
        arguments.extend([self.shape.stride, self.shape.padding].map(IValue::Int));
        let method = match after {
            After::AddRelu(other) => {
                arguments.insert(0, tensor(other));
                "conv_add_relu"
            }
            After::Relu => {
                arguments.push(IValue::String("relu".into()));
                "conv"
            }
            After::Nothing => {
                arguments.push(IValue::String("none".into()));
                "conv"
            }
        };
        self.call(method, &arguments)
    }

    fn packed(&self, input: &Tensor) -> Result<Tensor> {
        let mut weight = self.weight.borrow_mut();
        let packed = match &*weight {
            Weight::Packed(packed) => return Ok(packed.shallow_clone()),
            Weight::Plain(plain) => {
                let ConvShape { stride, padding, .. } = self.shape;
                let size = IValue::IntList(input.size());
                self.call(
                    "pack",
                    &[IValue::Tensor(plain.shallow_clone()), IValue::Int(stride), IValue::Int(padding), size],
                )?
            }
        };
        *weight = Weight::Packed(packed.shallow_clone());
        Ok(packed)
    }

    fn call(&self, method: &str, arguments: &[IValue]) -> Result<Tensor> {
        match self.module.method_is(method, arguments)? {
            IValue::Tensor(tensor) => Ok(tensor),
            other => Err(Error::Internal(format!("{method} gave {other:?}"))),
        }
    }
}
