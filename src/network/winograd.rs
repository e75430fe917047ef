//! Winograd's convolution (the crate `dismax-kernels`) on tensors.

use dismax_kernels::{INPUT_CHANNELS, Images, KernelError, OUTPUT_CHANNELS, Winograd, is_available};
use tch::Tensor;

use super::conv::{ConvShape, Epilogue};
use super::values;
use crate::error::{Error, Result};

/// Whether a convolution of images of this size is computed by Winograd's algorithm: the kernel's shape fits, the
/// processor has the instructions, and most of a tile is not wasted.
pub fn supports(shape: ConvShape, height: i64, width: i64) -> bool {
    let ConvShape { inputs, outputs, kernel, stride, padding, .. } = shape;
    let channels = inputs % INPUT_CHANNELS as i64 == 0 && outputs % OUTPUT_CHANNELS as i64 == 0;
    (kernel, stride, padding) == (3, 1, 1) && channels && height.min(width) > 2 && is_available()
}

/// The same, and its gradient, which takes output channels to input channels.
pub fn supports_training(shape: ConvShape, height: i64, width: i64) -> bool {
    let turned = ConvShape { inputs: shape.outputs, outputs: shape.inputs, ..shape };
    supports(shape, height, width) && supports(turned, height, width)
}

/// Transforms weights `[C_out, C_in, 3, 3]` f32 on the CPU; bias `[C_out]`.
pub fn pack(weight: &Tensor, bias: &Tensor, shape: ConvShape) -> Result<Winograd> {
    let weight = Vec::<f32>::try_from(&weight.f_contiguous()?.f_reshape([-1])?)?;
    let bias = Vec::<f32>::try_from(bias)?;
    Winograd::try_new(&weight, &bias, shape.inputs as usize, shape.outputs as usize).map_err(kernel_error)
}

/// `[B, C_in, H, W]` to `[B, C_out, H, W]`, channels-last both.
pub fn forward(input: &Tensor, winograd: &Winograd, epilogue: Epilogue<'_>) -> Result<Tensor> {
    let (count, _, height, width) = input.size4()?;
    let size = [count, height, width, winograd.outputs() as i64];
    let input = input.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    let (mut output, kernel_epilogue) = match epilogue {
        Epilogue::None => (values::unwritten(&size)?, dismax_kernels::Epilogue::None),
        Epilogue::Relu => (values::unwritten(&size)?, dismax_kernels::Epilogue::Relu),
        // In place: half of a residual network's layers need no new memory.
        Epilogue::AddRelu(other) => (other.f_permute([0, 2, 3, 1])?.f_contiguous()?, dismax_kernels::Epilogue::AddRelu),
    };
    if output.size() != size || output.data_ptr() == input.data_ptr() {
        return Err(Error::Internal(format!("a residual sum of {:?} with {size:?}", output.size())));
    }
    let images = Images { count: count as usize, height: height as usize, width: width as usize };
    winograd
        .convolve(values::of(&input)?, images, kernel_epilogue, values::of_mut(&mut output)?)
        .map_err(kernel_error)?;
    Ok(output.f_permute([0, 3, 1, 2])?)
}

/// The error for a kernel that refuses.
pub fn kernel_error(error: KernelError) -> Error {
    Error::Internal(format!("a convolution does not fit its kernel: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_supported_is_3x3_without_stride_and_not_tiny() {
        let fits = ConvShape::three(16, 32, 1);
        assert_eq!(supports(fits, 3, 3), is_available());
        assert_eq!(supports_training(fits, 32, 32), is_available());
        // 8 in are enough for one direction, not for 16 out of the other.
        assert_eq!(supports(ConvShape::three(8, 16, 1), 32, 32), is_available());
        assert!(!supports_training(ConvShape::three(8, 16, 1), 32, 32));
        for shape in [
            ConvShape::three(16, 16, 2),
            ConvShape::one(16, 16, 1),
            ConvShape::three(3, 16, 1),
            ConvShape::three(16, 12, 1),
            ConvShape { padding: 0, ..fits },
        ] {
            assert!(!supports(shape, 32, 32), "{shape:?}");
        }
        assert!(!supports(fits, 2, 32) && !supports(fits, 32, 2));
    }
}
