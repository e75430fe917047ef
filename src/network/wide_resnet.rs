//! WRN-28-10: Zagoruyko and Komodakis, *Wide Residual Networks* (arXiv 1605.07146), in the layout of the reference's
//! checkpoints (convolutions with biases, no dropout).

use tch::{Kind, Tensor};

use super::conv::ConvShape;
use super::graph::{GraphBuilder, Operation, Value};
use super::layers::{Conv, ConvNorm, Norm, global_average_pool, relu};
use super::weights::WeightPath;
use crate::error::Result;

const CHANNELS: [i64; 3] = [160, 320, 640];
/// (28 - 4) / 6 blocks a stage.
const BLOCKS: usize = 4;

/// WRN-28-10 without its classifier: 640 features.
#[derive(Debug)]
pub struct WideResNet {
    stem: Conv,
    blocks: Vec<WideBlock>,
    last: Norm,
}

impl WideResNet {
    /// Builds the network at `path`.
    pub fn wrn28_10(mut path: WeightPath<'_>) -> Result<Self> {
        let mut inputs = 16;
        let stem = Conv::try_new(path.sub("conv1"), with_bias(ConvShape::three(3, inputs, 1)))?;
        let mut blocks = Vec::new();
        for (stage, outputs) in CHANNELS.into_iter().enumerate() {
            let mut layer = path.sub(format_args!("layer{}", stage + 1));
            for index in 0..BLOCKS {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(WideBlock::try_new(layer.sub(index), inputs, outputs, stride)?);
                inputs = outputs;
            }
        }
        let last = Norm::try_new(path.sub("bn1"), inputs)?;
        Ok(Self { stem, blocks, last })
    }

    /// Normalised images `[B, 3, H, W]` to features `[B, 640]`. `between` gets what each stage but the last gives.
    pub fn forward(
        &self,
        images: &Tensor,
        training: bool,
        between: &mut dyn FnMut(&Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let mut x = self.stem.forward(images)?;
        for (number, block) in self.blocks.iter().enumerate() {
            if number > 0 && number.is_multiple_of(BLOCKS) {
                between(&x)?;
            }
            x = block.forward(&x, training)?;
        }
        global_average_pool(&relu(self.last.forward(&x, training)?)?)
    }

    /// Appends the network's operations; returns that of which the mean are the features.
    pub fn describe(&self, graph: &mut GraphBuilder) -> Result<Value> {
        let mut x = graph.conv(Value::IMAGES, &self.stem)?;
        for (number, block) in self.blocks.iter().enumerate() {
            if number > 0 && number.is_multiple_of(BLOCKS) {
                graph.end_stage(x);
            }
            let normed = graph.norm(x, &block.norm)?;
            let normed = graph.relu(normed);
            let inner = graph.conv_norm(normed, &block.first)?;
            let inner = graph.relu(inner);
            let inner = graph.conv(inner, &block.second)?;
            let shortcut = match &block.projection {
                Some(projection) => graph.conv(x, projection)?,
                None => x,
            };
            x = graph.push(Operation::Add(inner, shortcut));
        }
        let normed = graph.norm(x, &self.last)?;
        Ok(graph.relu(normed))
    }

    /// Computes every convolution and what follows it apart.
    pub fn without_fused_kernels(&self) {
        self.blocks.iter().for_each(|block| block.first.without_fused_kernels());
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let blocks = self.blocks.iter().map(WideBlock::share).collect();
        Self { stem: self.stem.share(), blocks, last: self.last.share() }
    }

    /// Folds the batch norms that follow a convolution directly; the others see a sum and stay. All convolutions become
    /// `kind`.
    pub fn fold(&mut self, kind: Kind) -> Result<()> {
        self.stem.convert(kind)?;
        for block in &mut self.blocks {
            block.first.fold(kind)?;
            block.second.convert(kind)?;
            block.projection.as_mut().map_or(Ok(()), |projection| projection.convert(kind))?;
        }
        Ok(())
    }
}

fn with_bias(shape: ConvShape) -> ConvShape {
    ConvShape { bias: true, ..shape }
}

#[derive(Debug)]
struct WideBlock {
    norm: Norm,
    first: ConvNorm,
    second: Conv,
    projection: Option<Conv>,
}

impl WideBlock {
    fn try_new(mut path: WeightPath<'_>, inputs: i64, outputs: i64, stride: i64) -> Result<Self> {
        let norm = Norm::try_new(path.sub("bn1"), inputs)?;
        let first = Conv::try_new(path.sub("conv1"), with_bias(ConvShape::three(inputs, outputs, 1)))?;
        let first = ConvNorm::new(first, Norm::try_new(path.sub("bn2"), outputs)?);
        let second = Conv::try_new(path.sub("conv2"), with_bias(ConvShape::three(outputs, outputs, stride)))?;
        let projection = match stride != 1 || inputs != outputs {
            true => {
                let shape = with_bias(ConvShape::one(inputs, outputs, stride));
                Some(Conv::try_new(path.sub("shortcut").sub("0"), shape)?)
            }
            false => None,
        };
        Ok(Self { norm, first, second, projection })
    }

    fn share(&self) -> Self {
        let projection = self.projection.as_ref().map(Conv::share);
        Self { norm: self.norm.share(), first: self.first.share(), second: self.second.share(), projection }
    }

    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor> {
        let x = relu(self.norm.forward(input, training)?)?;
        let x = self.first.forward_relu(&x, training)?;
        let mut x = self.second.forward(&x)?;
        let _ = match &self.projection {
            Some(projection) => x.f_add_(&projection.forward(input)?)?,
            None => x.f_add_(input)?,
        };
        Ok(x)
    }
}
