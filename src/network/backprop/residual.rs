//! Of residual networks.

use tch::Tensor;

use super::pair::{self, Kept};
use super::recorded::Recorded;
use super::{WrittenOut, mean, no_gradient, of_mean, rows_of};
use crate::error::Result;
use crate::network::conv::Epilogue;
use crate::network::resnet::{Block, ResNet};

/// What the forward pass keeps.
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

impl WrittenOut for ResNet {
    type Tape = Tape;

    fn forward(&self, images: &Tensor) -> Result<(Tensor, Tape)> {
        let (mut x, stem) = pair::forward_images(&self.stem, &rows_of(images)?, Epilogue::Relu)?;
        let mut pool = None;
        if self.max_pool {
            let recorded = Recorded::new(&x, true, &[], Self::pool)?;
            x = recorded.output()?;
            pool = Some(recorded);
        }
        let mut blocks = Vec::new();
        for block in &self.blocks {
            let (output, kept) = forward_block(block, &x)?;
            x = output;
            blocks.push(kept);
        }
        Ok((mean(&x)?, Tape { stem, pool, blocks, size: x.size() }))
    }

    fn backward(&self, tape: Tape, features: &Tensor) -> Result<Vec<Tensor>> {
        let mut gradient = of_mean(features, &tape.size)?;
        let mut blocks = Vec::new();
        for (block, kept) in self.blocks.iter().zip(tape.blocks).rev() {
            let (input, parameters) = backward_block(block, kept, gradient)?;
            gradient = input;
            blocks.push(parameters);
        }
        if let Some(pool) = tape.pool {
            gradient = pool.backward(&gradient)?.pop().ok_or_else(no_gradient)?;
        }
        let mut parameters = Vec::from(pair::backward(&self.stem, tape.stem, &mut gradient)?.1);
        parameters.extend(blocks.into_iter().rev().flatten());
        Ok(parameters)
    }
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
