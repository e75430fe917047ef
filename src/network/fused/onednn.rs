//! oneDNN's convolutions with the rectifier and the residual sum in them.
//!
//! libtorch has operators for that, which its own compiler uses, and no function of its C++ interface; a TorchScript
//! module calls them by name (`scripts/make_onednn_kernels.py` wrote it). On two cores with AVX2, ResNet-20 on 32x32:
//! 1.12 times the images of the plain channels-last path end to end (median of 5 runs in turn), 1.14 to 1.22 times in
//! the network alone on one thread.

use std::sync::OnceLock;

use tch::{CModule, IValue, Tensor};

use crate::error::{Error, Result};
use crate::network::conv::{ConvShape, Epilogue};

/// The module; no weights are in it.
const MODULE: &[u8] = include_bytes!("onednn.pt");

/// The operators, shared by all networks of the process. None where this libtorch is built without oneDNN.
fn module() -> Option<&'static CModule> {
    static MODULE_ONCE: OnceLock<Option<CModule>> = OnceLock::new();
    MODULE_ONCE.get_or_init(|| CModule::load_data(&mut &*MODULE).ok()).as_ref()
}

/// Whether this libtorch has the operators.
pub fn is_available() -> bool {
    module().is_some()
}

/// Weights `[C_out, C_in, kernel, kernel]` in the layout that oneDNN likes best for inputs of this size.
pub fn pack(weight: &Tensor, shape: ConvShape, input: &Tensor) -> Result<Tensor> {
    let ConvShape { stride, padding, .. } = shape;
    let weight = IValue::Tensor(weight.shallow_clone());
    call("pack", &[weight, IValue::Int(stride), IValue::Int(padding), IValue::IntList(input.size())])
}

/// `[B, C_in, H, W]` to `[B, C_out, H', W']`, channels-last both, with packed weights.
pub fn forward(
    input: &Tensor,
    packed: &Tensor,
    bias: &Tensor,
    shape: ConvShape,
    epilogue: Epilogue<'_>,
) -> Result<Tensor> {
    let mut arguments: Vec<_> =
        [input, packed, bias].map(|tensor| IValue::Tensor(tensor.shallow_clone())).into_iter().collect();
    arguments.extend([shape.stride, shape.padding].map(IValue::Int));
    match epilogue {
        Epilogue::AddRelu(other) => {
            arguments.insert(0, IValue::Tensor(other.shallow_clone()));
            return call("conv_add_relu", &arguments);
        }
        Epilogue::Relu => arguments.push(IValue::String("relu".into())),
        Epilogue::None => arguments.push(IValue::String("none".into())),
    }
    call("conv", &arguments)
}

fn call(method: &str, arguments: &[IValue]) -> Result<Tensor> {
    let module = module().ok_or_else(|| Error::Internal("this libtorch has no oneDNN".into()))?;
    match module.method_is(method, arguments)? {
        IValue::Tensor(tensor) => Ok(tensor),
        other => Err(Error::Internal(format!("{method} gave {other:?}"))),
    }
}
