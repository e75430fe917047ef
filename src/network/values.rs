//! The values of tensors as slices, without a copy: the one place where kernels written here meet libtorch's memory.

use std::slice;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// The values of a contiguous f32 tensor on the CPU, row-major.
pub fn of(tensor: &Tensor) -> Result<&[f32]> {
    check(tensor)?;
    // SAFETY: the tensor is contiguous, f32 and on the CPU, so that many values lie behind the pointer, and they live
    // as long as the borrowed handle. One thread owns a network and what it computes, and nothing on that thread writes
    // while a kernel reads.
    Ok(unsafe { slice::from_raw_parts(tensor.data_ptr().cast::<f32>(), tensor.numel()) })
}

/// The same to write to. Handles share memory: nothing else may look at this tensor's meanwhile.
pub fn of_mut(tensor: &mut Tensor) -> Result<&mut [f32]> {
    check(tensor)?;
    // SAFETY: as above, and the caller answers for other handles. What libtorch has not written yet is some f32 or
    // other.
    Ok(unsafe { slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), tensor.numel()) })
}

/// A new f32 tensor on the CPU with whatever values its memory held before.
pub fn unwritten(size: &[i64]) -> Result<Tensor> {
    Ok(Tensor::f_empty(size, (Kind::Float, Device::Cpu))?)
}

fn check(tensor: &Tensor) -> Result<()> {
    let fits = tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous();
    // An empty tensor may have no memory at all.
    if fits && tensor.numel() > 0 {
        return Ok(());
    }
    Err(Error::Internal(format!("a kernel for f32 on the CPU was given {tensor:?}")))
}
