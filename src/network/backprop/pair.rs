//! A convolution and the batch norm after it, with the residual sum and the rectifier that follow.

use dismax_kernels::{Ending, Images, Normalization, Normalized, Winograd, weight_gradient};
use tch::Tensor;

use super::recorded::Recorded;
use crate::error::{Error, Result};
use crate::network::fused::After;
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

/// Gradients of a pair: of its input, where wanted, and of the convolution's weights and the batch norm's weight and bias.
pub type Gradients = (Option<Tensor>, [Tensor; 3]);

/// `[N, H, W, C_in]` to `[N, H', W', C_out]`.
pub fn forward(pair: &ConvNorm, input: &Tensor, after: After<'_>) -> Result<(Tensor, Kept)> {
    run(pair, input, after, true)
}

/// The same for the network's images, of which no gradient is wanted.
pub fn forward_images(pair: &ConvNorm, images: &Tensor, after: After<'_>) -> Result<(Tensor, Kept)> {
    run(pair, images, after, false)
}

fn run(pair: &ConvNorm, input: &Tensor, after: After<'_>, of_input: bool) -> Result<(Tensor, Kept)> {
    let (conv, norm) = parts(pair)?;
    let (count, height, width, _) = input.size4()?;
    let images = Images { count: count as usize, height: height as usize, width: width as usize };
    let (convolution, convolved) = if winograd::suits_both_ways(conv.shape, height, width) {
        let packed = {
            let weight = plain(&conv.weight)?;
            let (inputs, outputs) = (conv.shape.inputs as usize, conv.shape.outputs as usize);
            Winograd::new(values::of(&weight)?, &vec![0.0; outputs], inputs, outputs).map_err(winograd::unfit)?
        };
        let convolved = convolve(&packed, input, images)?;
        (Convolution::Winograd { input: input.shallow_clone(), images }, convolved)
    } else {
        let recorded = Recorded::new(input, of_input, &[&conv.weight], |input| conv.forward(input))?;
        let convolved = recorded.output()?;
        (Convolution::Left(recorded), convolved)
    };
    let (residual, relu) = match after {
        After::Nothing => (None, false),
        After::Relu => (None, true),
        After::AddRelu(residual) => (Some(residual), true),
    };
    let mut output = values::unwritten(&convolved.size())?;
    let residual = residual.map(values::of).transpose()?;
    let statistics = normalization(norm, relu)?
        .forward(values::of(&convolved)?, residual, values::of_mut(&mut output)?)
        .map_err(winograd::unfit)?;
    follow(norm, &statistics, convolved.numel() / statistics.mean.len())?;
    let kept = Kept { convolution, convolved, statistics, output: output.shallow_clone(), relu };
    Ok((output, kept))
}

/// From the gradient of the pair's output, which becomes that of the sum before the rectifier.
pub fn backward(pair: &ConvNorm, kept: Kept, gradient: &mut Tensor) -> Result<Gradients> {
    let (conv, norm) = parts(pair)?;
    let Kept { convolution, mut convolved, statistics, output, relu } = kept;
    let (of_weight, of_bias) = normalization(norm, relu)?
        .backward(&statistics, values::of_mut(&mut convolved)?, values::of(&output)?, values::of_mut(gradient)?)
        .map_err(winograd::unfit)?;
    let norm = [Tensor::f_from_slice(&of_weight)?, Tensor::f_from_slice(&of_bias)?];
    let convolved = convolved;
    let (input, weights) = match convolution {
        Convolution::Winograd { input, images } => {
            let channels = (conv.shape.inputs as usize, conv.shape.outputs as usize);
            let mut weights = values::unwritten(&conv.weight.size())?;
            let to = values::of_mut(&mut weights)?;
            weight_gradient(values::of(&input)?, values::of(&convolved)?, images, channels, to)
                .map_err(winograd::unfit)?;
            let weight = plain(&conv.weight)?;
            let turned = Winograd::of_input_gradient(values::of(&weight)?, channels.1, channels.0);
            (Some(convolve(&turned.map_err(winograd::unfit)?, &convolved, images)?), weights)
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
        .convolve(values::of(input)?, images, Ending::Nothing, values::of_mut(&mut output)?)
        .map_err(winograd::unfit)?;
    Ok(output)
}

fn normalization(norm: &Norm, relu: bool) -> Result<Normalization<'_>> {
    let (weight, bias) = (values::of(&norm.weight)?, values::of(&norm.bias)?);
    Ok(Normalization { weight, bias, epsilon: EPSILON as f32, relu })
}

/// Moves the running statistics towards those of a batch of so many values for each channel, as PyTorch does: its variance is divided by
/// one less.
fn follow(norm: &Norm, statistics: &Normalized, count: usize) -> Result<()> {
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
