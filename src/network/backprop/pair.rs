//! A convolution and the batch norm after it, with the residual sum and the rectifier that follow.

use dismax_kernels::training::{Normalization, Normalized, weight_gradient};
use dismax_kernels::{Images, Winograd};
use tch::Tensor;

use super::recorded::Recorded;
use crate::error::{Error, Result};
use crate::network::conv::Epilogue;
use crate::network::layers::{Conv, ConvNorm, EPSILON, MOMENTUM, Norm};
use crate::network::{values, winograd};

/// What the gradient of a pair is computed from.
#[derive(Debug)]
pub struct Kept {
    convolution: Convolution,
    /// What the convolution gave. Its gradient takes its place.
    convolved: Tensor,
    statistics: Normalized,
    output: Tensor,
    relu: bool,
}

#[derive(Debug)]
enum Convolution {
    Winograd { input: Tensor, images: Images },
    Left(Recorded),
}

/// PairGradients of a pair: of its input, where wanted, and of the convolution's weights and the batch norm's weight
/// and bias.
pub type PairGradients = (Option<Tensor>, [Tensor; 3]);

/// `[N, H, W, C_in]` to `[N, H', W', C_out]`.
pub fn forward(pair: &ConvNorm, input: &Tensor, epilogue: Epilogue<'_>) -> Result<(Tensor, Kept)> {
    run(pair, input, epilogue, true)
}

/// The same for the network's images, of which no gradient is wanted.
pub fn forward_images(pair: &ConvNorm, images: &Tensor, epilogue: Epilogue<'_>) -> Result<(Tensor, Kept)> {
    run(pair, images, epilogue, false)
}

fn run(pair: &ConvNorm, input: &Tensor, epilogue: Epilogue<'_>, of_input: bool) -> Result<(Tensor, Kept)> {
    let (conv, norm) = parts(pair)?;
    let (count, height, width, _) = input.size4()?;
    let images = Images { count: count as usize, height: height as usize, width: width as usize };
    let (convolution, convolved) = if winograd::supports_training(conv.shape, height, width) {
        let packed = {
            let weight = plain(&conv.weight)?;
            let (inputs, outputs) = (conv.shape.inputs as usize, conv.shape.outputs as usize);
            Winograd::try_new(values::of(&weight)?, &vec![0.0; outputs], inputs, outputs)
                .map_err(winograd::kernel_error)?
        };
        let convolved = convolve(&packed, input, images)?;
        (Convolution::Winograd { input: input.shallow_clone(), images }, convolved)
    } else {
        let recorded = Recorded::new(input, of_input, &[&conv.weight], |input| conv.forward(input))?;
        let convolved = recorded.output()?;
        (Convolution::Left(recorded), convolved)
    };
    let mut output = values::unwritten(&convolved.size())?;
    let (residual, relu) = (epilogue.residual().map(values::of).transpose()?, epilogue.has_relu());
    let statistics = normalization(norm, relu)?
        .forward(values::of(&convolved)?, residual, values::of_mut(&mut output)?)
        .map_err(winograd::kernel_error)?;
    update_running_statistics(norm, &statistics, convolved.numel() / statistics.mean.len())?;
    let kept = Kept { convolution, convolved, statistics, output: output.shallow_clone(), relu };
    Ok((output, kept))
}

/// From the gradient of the pair's output, which becomes that of the sum before the rectifier.
pub fn backward(pair: &ConvNorm, kept: Kept, gradient: &mut Tensor) -> Result<PairGradients> {
    let (conv, norm) = parts(pair)?;
    let Kept { convolution, mut convolved, statistics, output, relu } = kept;
    let (of_weight, of_bias) = normalization(norm, relu)?
        .backward(&statistics, values::of_mut(&mut convolved)?, values::of(&output)?, values::of_mut(gradient)?)
        .map_err(winograd::kernel_error)?;
    let norm = [Tensor::f_from_slice(&of_weight)?, Tensor::f_from_slice(&of_bias)?];
    let convolved = convolved;
    let (input, weights) = match convolution {
        Convolution::Winograd { input, images } => {
            let channels = (conv.shape.inputs as usize, conv.shape.outputs as usize);
            let mut weights = values::unwritten(&conv.weight.size())?;
            let to = values::of_mut(&mut weights)?;
            weight_gradient(values::of(&input)?, values::of(&convolved)?, images, channels, to)
                .map_err(winograd::kernel_error)?;
            let weight = plain(&conv.weight)?;
            let turned = Winograd::of_input_gradient(values::of(&weight)?, channels.1, channels.0);
            (Some(convolve(&turned.map_err(winograd::kernel_error)?, &convolved, images)?), weights)
        }
        Convolution::Left(recorded) => {
            let mut gradients = recorded.backward(&convolved)?;
            let weights = gradients.pop().ok_or_else(|| Error::Internal("a convolution without gradient".into()))?;
            (gradients.pop(), weights)
        }
    };
    let [of_weight, of_bias] = norm;
    Ok((input, [weights, of_weight, of_bias]))
}

fn parts(pair: &ConvNorm) -> Result<(&Conv, &Norm)> {
    match pair {
        ConvNorm::Plain { conv, norm: Some(norm) } => Ok((conv, norm)),
        _ => Err(Error::Internal("a folded network cannot be trained".into())),
    }
}

/// The values `[C_out, C_in, 3, 3]` row-major, of weights that lie channels-last.
fn plain(weight: &Tensor) -> Result<Tensor> {
    Ok(weight.f_detach()?.f_contiguous()?)
}

fn convolve(winograd: &Winograd, input: &Tensor, images: Images) -> Result<Tensor> {
    let size = [images.count, images.height, images.width, winograd.outputs()].map(|length| length as i64);
    let mut output = values::unwritten(&size)?;
    winograd
        .convolve(values::of(input)?, images, dismax_kernels::Epilogue::None, values::of_mut(&mut output)?)
        .map_err(winograd::kernel_error)?;
    Ok(output)
}

fn normalization(norm: &Norm, relu: bool) -> Result<Normalization<'_>> {
    let (weight, bias) = (values::of(&norm.weight)?, values::of(&norm.bias)?);
    Ok(Normalization { weight, bias, epsilon: EPSILON as f32, relu })
}

/// Updates the running statistics with those of a batch of `count` values per channel. As in PyTorch, the running
/// variance is the unbiased one.
fn update_running_statistics(norm: &Norm, statistics: &Normalized, count: usize) -> Result<()> {
    let newest = MOMENTUM as f32;
    let unbiased = count as f32 / (count.max(2) - 1) as f32;
    let of_variance = statistics.variance.iter().map(|variance| variance * unbiased);
    let mut running_mean = norm.running_mean.shallow_clone();
    for (running, mean) in values::of_mut(&mut running_mean)?.iter_mut().zip(&statistics.mean) {
        *running += newest * (mean - *running);
    }
    let mut running_var = norm.running_var.shallow_clone();
    for (running, variance) in values::of_mut(&mut running_var)?.iter_mut().zip(of_variance) {
        *running += newest * (variance - *running);
    }
    Ok(())
}
