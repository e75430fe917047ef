//! Winograd's convolution (the crate `dismax-kernels`) on tensors.

use dismax_kernels::{Ending, INPUT_CHANNELS, Images, OUTPUT_CHANNELS, Unfit, Winograd, available};
use tch::Tensor;

use super::fused::After;
use super::layers::ConvShape;
use super::values;
use crate::error::{Error, Result};

/// Whether a convolution of images of this size is computed by Winograd's algorithm: the kernel's shape fits, the processor has the
/// instructions, and most of a tile is not wasted.
pub fn suits(shape: ConvShape, height: i64, width: i64) -> bool {
    let ConvShape { inputs, outputs, kernel, stride, padding, .. } = shape;
    let channels = inputs % INPUT_CHANNELS as i64 == 0 && outputs % OUTPUT_CHANNELS as i64 == 0;
    (kernel, stride, padding) == (3, 1, 1) && channels && height.min(width) > 2 && available()
}

/// The same, and its gradient, which takes output channels to input channels.
pub fn suits_both_ways(shape: ConvShape, height: i64, width: i64) -> bool {
    let turned = ConvShape { inputs: shape.outputs, outputs: shape.inputs, ..shape };
    suits(shape, height, width) && suits(turned, height, width)
}

/// Transforms weights `[C_out, C_in, 3, 3]` f32 on the CPU; bias `[C_out]`.
pub fn pack(weight: &Tensor, bias: &Tensor, shape: ConvShape) -> Result<Winograd> {
    let weight = Vec::<f32>::try_from(&weight.f_contiguous()?.f_reshape([-1])?)?;
    let bias = Vec::<f32>::try_from(bias)?;
    Winograd::new(&weight, &bias, shape.inputs as usize, shape.outputs as usize).map_err(unfit)
}

/// `[B, C_in, H, W]` to `[B, C_out, H, W]`, channels-last both.
pub fn forward(input: &Tensor, winograd: &Winograd, after: After<'_>) -> Result<Tensor> {
    let (count, _, height, width) = input.size4()?;
    let size = [count, height, width, winograd.outputs() as i64];
    let input = input.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    let (mut output, ending) = match after {
        After::Nothing => (values::unwritten(&size)?, Ending::Nothing),
        After::Relu => (values::unwritten(&size)?, Ending::Relu),
        // In place: half of a residual network's layers need no new memory.
        After::AddRelu(other) => (other.f_permute([0, 2, 3, 1])?.f_contiguous()?, Ending::AddRelu),
    };
    if output.size() != size || output.data_ptr() == input.data_ptr() {
        return Err(Error::Internal(format!("a residual sum of {:?} with {size:?}", output.size())));
    }
    let images = Images { count: count as usize, height: height as usize, width: width as usize };
    winograd.convolve(values::of(&input)?, images, ending, values::of_mut(&mut output)?).map_err(unfit)?;
    Ok(output.f_permute([0, 3, 1, 2])?)
}

/// The error for a kernel that refuses.
pub fn unfit(unfit: Unfit) -> Error {
    Error::Internal(format!("a convolution does not fit its kernel: {unfit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_suits_is_3x3_without_stride_and_not_tiny() {
        let fits = ConvShape::three(16, 32, 1);
        assert_eq!(suits(fits, 3, 3), available());
        assert_eq!(suits_both_ways(fits, 32, 32), available());
        // 8 in are enough for one direction, not for 16 out of the other.
        assert_eq!(suits(ConvShape::three(8, 16, 1), 32, 32), available());
        assert!(!suits_both_ways(ConvShape::three(8, 16, 1), 32, 32));
        for shape in [
            ConvShape::three(16, 16, 2),
            ConvShape::one(16, 16, 1),
            ConvShape::three(3, 16, 1),
            ConvShape::three(16, 12, 1),
            ConvShape { padding: 0, ..fits },
        ] {
            assert!(!suits(shape, 32, 32), "{shape:?}");
        }
        assert!(!suits(fits, 2, 32) && !suits(fits, 32, 2));
    }
}
