//! Convolutions in 16 bits for GPUs: with what follows them in one kernel, where that is faster.
//!
//! libtorch's plain convolution leaves bias, residual sum and rectifier to passes of their own over memory, which take
//! a third of a ResNet-34's time on a GPU. cuDNN has kernels that do all of it, but not for every shape, and some of
//! them are slow. So each layer tries both once and keeps the faster.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use super::conv::{ConvShape, Epilogue};
use crate::error::{Error, Result};
use crate::panic::caught;

/// Rows from which a pass is representative enough to choose by.
const MIN_ROWS: i64 = 64;
/// Passes that are timed.
const TIMED_PASSES: u32 = 5;
/// Larger kernels are never fused: cuDNN's fused 7x7 convolution takes many times as long as its plain one.
const LARGEST_KERNEL: i64 = 3;

/// How a layer is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Not known before the first large pass.
    Open,
    Fused,
    Separate,
}

/// A convolution with a bias.
#[derive(Debug)]
pub struct CudnnConv {
    weight: Tensor,
    bias: Tensor,
    shape: ConvShape,
    choice: Cell<Choice>,
}

impl CudnnConv {
    /// Takes weights `[C_out, C_in, kernel, kernel]`, laid out channels-last, and bias `[C_out]`.
    pub fn new(weight: Tensor, bias: Tensor, shape: ConvShape) -> Self {
        let choice = if shape.kernel > LARGEST_KERNEL { Choice::Separate } else { Choice::Open };
        Self { weight, bias, shape, choice: Cell::new(choice) }
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let choice = self.choice.clone();
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone(), shape: self.shape, choice }
    }

    /// From here on nothing is fused.
    pub fn without_fused_kernels(&self) {
        self.choice.set(Choice::Separate);
    }

    /// `[B, C_in, H, W]` to `[B, C_out, H', W']`, with what follows.
    pub fn forward(&self, input: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        if self.choice.get() == Choice::Open && epilogue.has_relu() && input.size()[0] >= MIN_ROWS {
            self.choice.set(self.choose(input, epilogue)?);
        }
        match self.choice.get() {
            Choice::Fused => self.fused(input, epilogue),
            Choice::Open | Choice::Separate => self.separate(input, epilogue),
        }
    }

    fn choose(&self, input: &Tensor, epilogue: Epilogue<'_>) -> Result<Choice> {
        let separate = timed(input.device(), || self.separate(input, epilogue))?;
        let (shape, rows) = (self.shape, input.size()[0]);
        Ok(match timed(input.device(), || self.fused(input, epilogue)) {
            Ok(fused) => {
                log::debug!("{shape:?} on {rows} rows: {separate:?} apart, {fused:?} fused");
                if fused < separate { Choice::Fused } else { Choice::Separate }
            }
            Err(error) => {
                log::debug!("{shape:?} on {rows} rows: {separate:?} apart, no fused kernel: {error}");
                Choice::Separate
            }
        })
    }

    fn separate(&self, input: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let ConvShape { stride, padding, .. } = self.shape;
        let (stride, padding) = ([stride, stride], [padding, padding]);
        let mut output = input.f_conv2d(&self.weight, Some(&self.bias), stride, padding, [1, 1], 1)?;
        if let Some(residual) = epilogue.residual() {
            let _ = output.f_add_(residual)?;
        }
        if epilogue.has_relu() {
            let _ = output.f_relu_()?;
        }
        Ok(output)
    }

    fn fused(&self, input: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let ConvShape { stride, padding, .. } = self.shape;
        let (stride, padding, bias) = ([stride, stride], [padding, padding], Some(&self.bias));
        Ok(match epilogue {
            Epilogue::None => return self.separate(input, epilogue),
            Epilogue::Relu => input.f_cudnn_convolution_relu(&self.weight, bias, stride, padding, [1, 1], 1)?,
            Epilogue::AddRelu(residual) => caught(|| {
                input.f_cudnn_convolution_add_relu(&self.weight, residual, 1.0, bias, stride, padding, [1, 1], 1)
            })
            // tch panics instead of returning an error where one of the arguments is a scalar.
            .map_err(Error::Internal)??,
        })
    }
}

/// How long a few passes take, after one in which cuDNN looks for its kernel.
fn timed(device: Device, pass: impl Fn() -> Result<Tensor>) -> Result<Duration> {
    let wait = || {
        if let Device::Cuda(index) = device {
            tch::Cuda::synchronize(index as i64);
        }
    };
    let _ = pass()?;
    wait();
    let start = Instant::now();
    for _ in 0..TIMED_PASSES {
        let _ = pass()?;
    }
    wait();
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    /// On a CPU cuDNN's operators throw, as they do on a GPU for shapes without an engine.
    #[test]
    fn where_nothing_is_fused_the_layer_goes_on() -> Result<()> {
        let values = |size: &[i64]| -> Result<Tensor> {
            let count = size.iter().product::<i64>();
            Ok(Tensor::f_arange(count, (Kind::Float, Device::Cpu))?.f_sin()?.f_reshape(size)?.f_to_kind(Kind::Half)?)
        };
        let shape = ConvShape::three(4, 4, 1);
        let conv = CudnnConv::new(values(&[4, 4, 3, 3])?, values(&[4])?, shape);
        for rows in [2, MIN_ROWS] {
            let (input, residual) = (values(&[rows, 4, 6, 6])?, values(&[rows, 4, 6, 6])?);
            let plain = conv.forward(&input, Epilogue::None)?;
            assert_eq!(conv.choice.get(), Choice::Open);
            let before = residual.copy();
            let sum = conv.forward(&input, Epilogue::AddRelu(&residual))?;
            assert_eq!(sum, (plain + &before).relu());
            assert_eq!(residual, before, "the shortcut is still needed after a layer was tried");
        }
        assert_eq!(conv.choice.get(), Choice::Separate);
        Ok(())
    }
}
