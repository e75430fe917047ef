//! Backpropagation of residual networks written out, for training on one thread of a CPU.
//!
//! Nearly all of their convolutions suit Winograd's algorithm, of which libtorch's autograd knows nothing, and whose
//! gradients are Winograd convolutions too. Batch norm, residual sum and rectifier become one step each way. What does
//! not suit is
//! [left to autograd](recorded). Measured by `benches/compare` (section `train`) beside PyTorch.
//!
//! Tensors in this room are `[N, H, W, C]`, contiguous.

mod pair;
mod recorded;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "networks are made here")]
mod tests;

use tch::{Device, Kind, Tensor};

use self::pair::Kept;
use self::recorded::Recorded;
use super::conv::Epilogue;
use super::resnet::{Block, ResNet};
use crate::error::{Error, Result};

/// Whether a network is trained this way on what its images lie on. The kernels take one thread: where libtorch has
/// several, it is left to use them.
pub fn suits(images: &Tensor) -> bool {
    let is_plain = images.device() == Device::Cpu && images.kind() == Kind::Float;
    is_plain && tch::get_num_threads() == 1 && dismax_kernels::is_available()
}

/// What the forward pass keeps for the backward pass.
#[derive(Debug)]
pub struct Tape {
    stem: Kept,
    pool: Option<Recorded>,
    blocks: Vec<KeptBlock>,
    size: Vec<i64>,
}

#[derive(Debug)]
struct KeptBlock {
    layers: Vec<Kept>,
    projection: Option<Kept>,
}

/// Normalised images `[B, 3, H, W]` to features `[B, D]`, in training.
pub fn forward(network: &ResNet, images: &Tensor) -> Result<(Tensor, Tape)> {
    tch::no_grad(|| {
        let images = images.f_permute([0, 2, 3, 1])?.f_contiguous()?;
        let (mut x, stem) = pair::forward_images(&network.stem, &images, Epilogue::Relu)?;
        let mut pool = None;
        if network.max_pool {
            let recorded = Recorded::new(&x, true, &[], ResNet::pool)?;
            x = recorded.output()?;
            pool = Some(recorded);
        }
        let mut blocks = Vec::new();
        for block in &network.blocks {
            let (output, kept) = forward_block(block, &x)?;
            x = output;
            blocks.push(kept);
        }
        let features = x.f_mean_dim([1i64, 2].as_slice(), false, None)?;
        Ok((features, Tape { stem, pool, blocks, size: x.size() }))
    })
}

/// Gradients of all parameters, in the order in which they were built, from that of the features `[B, D]`.
pub fn backward(network: &ResNet, tape: Tape, features: &Tensor) -> Result<Vec<Tensor>> {
    tch::no_grad(|| {
        let pixels = (tape.size[1] * tape.size[2]) as f64;
        let shape = [tape.size[0], 1, 1, tape.size[3]];
        let mean = features.f_div_scalar(pixels)?.f_view(shape)?;
        let mut gradient = mean.f_expand(tape.size.as_slice(), false)?.f_contiguous()?;
        let mut blocks = Vec::new();
        for (block, kept) in network.blocks.iter().zip(tape.blocks).rev() {
            let (input, parameters) = backward_block(block, kept, gradient)?;
            gradient = input;
            blocks.push(parameters);
        }
        if let Some(pool) = tape.pool {
            gradient = pool.backward(&gradient)?.pop().ok_or_else(no_gradient)?;
        }
        let mut parameters = Vec::from(pair::backward(&network.stem, tape.stem, &mut gradient)?.1);
        parameters.extend(blocks.into_iter().rev().flatten());
        Ok(parameters)
    })
}

fn forward_block(block: &Block, input: &Tensor) -> Result<(Tensor, KeptBlock)> {
    let (last, others) = block.layers.split_last().expect("a block has convolutions");
    let (mut x, mut layers) = (input.shallow_clone(), Vec::new());
    for layer in others {
        let (output, kept) = pair::forward(layer, &x, Epilogue::Relu)?;
        x = output;
        layers.push(kept);
    }
    let projected = block.projection.as_ref().map(|pair| pair::forward(pair, input, Epilogue::None)).transpose()?;
    let (shortcut, projection) = projected.unzip();
    let (output, kept) = pair::forward(last, &x, Epilogue::AddRelu(shortcut.as_ref().unwrap_or(input)))?;
    layers.push(kept);
    Ok((output, KeptBlock { layers, projection }))
}

/// The input's gradient and those of the parameters.
fn backward_block(block: &Block, kept: KeptBlock, mut gradient: Tensor) -> Result<(Tensor, Vec<Tensor>)> {
    let mut layers = block.layers.iter().zip(kept.layers).rev();
    let (last, kept_of_last) = layers.next().expect("a block has convolutions");
    let (input, parameters) = pair::backward(last, kept_of_last, &mut gradient)?;
    let (mut input, mut of_layers) = (input.ok_or_else(no_gradient)?, vec![parameters]);
    for (layer, kept) in layers {
        let (before, parameters) = pair::backward(layer, kept, &mut input)?;
        input = before.ok_or_else(no_gradient)?;
        of_layers.push(parameters);
    }
    let mut parameters: Vec<Tensor> = of_layers.into_iter().rev().flatten().collect();
    match block.projection.as_ref().zip(kept.projection) {
        // `gradient` has become that of the sum, which both of its sides get.
        None => drop(input.f_add_(&gradient)?),
        Some((projection, kept)) => {
            let (shortcut, projection) = pair::backward(projection, kept, &mut gradient)?;
            let _ = input.f_add_(&shortcut.ok_or_else(no_gradient)?)?;
            parameters.extend(projection);
        }
    }
    Ok((input, parameters))
}

fn no_gradient() -> Error {
    Error::Internal("a gradient is missing".into())
}
