//! DenseNet-BC with depth 100 and growth rate 12: Huang et al., *Densely Connected Convolutional Networks*
//! (arXiv 1608.06993), section 3, in the layout of the reference's checkpoints.

use tch::{Kind, Tensor};

use super::conv::ConvShape;
use super::graph::{GraphBuilder, Operation, Value};
use super::layers::{Conv, ConvNorm, Norm, global_average_pool, relu};
use super::weights::WeightPath;
use crate::error::Result;

const GROWTH: i64 = 12;
/// (100 - 4) / 3 layers a block, of which each dense layer takes two.
const LAYERS: usize = 16;
const BLOCKS: usize = 3;

/// DenseNet-BC100 without its classifier: 342 features.
#[derive(Debug)]
pub struct DenseNet {
    stem: Conv,
    blocks: Vec<(Vec<DenseLayer>, Option<Transition>)>,
    last: Norm,
}

impl DenseNet {
    /// Builds the network at `path`.
    pub fn bc100(mut path: WeightPath<'_>) -> Result<Self> {
        let mut channels = 2 * GROWTH;
        let stem = Conv::try_new(path.sub("conv1"), ConvShape::three(3, channels, 1))?;
        let mut blocks = Vec::new();
        for number in 1..=BLOCKS {
            let mut layers = Vec::new();
            let mut block = path.sub(format_args!("block{number}"));
            let mut block = block.sub("layer");
            for index in 0..LAYERS {
                layers.push(DenseLayer::try_new(block.sub(index), channels)?);
                channels += GROWTH;
            }
            let transition = match number < BLOCKS {
                true => Some(Transition::try_new(path.sub(format_args!("trans{number}")), channels)?),
                false => None,
            };
            if transition.is_some() {
                channels /= 2;
            }
            blocks.push((layers, transition));
        }
        let last = Norm::try_new(path.sub("bn1"), channels)?;
        Ok(Self { stem, blocks, last })
    }

    /// Normalised images `[B, 3, H, W]` to features `[B, 342]`. `between` gets what each block but the last gives.
    pub fn forward(
        &self,
        images: &Tensor,
        training: bool,
        between: &mut dyn FnMut(&Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let mut x = self.stem.forward(images)?;
        for (layers, transition) in &self.blocks {
            for layer in layers {
                x = layer.forward(&x, training)?;
            }
            if let Some(transition) = transition {
                between(&x)?;
                x = transition.forward(&x, training)?;
            }
        }
        global_average_pool(&relu(self.last.forward(&x, training)?)?)
    }

    /// Appends the network's operations; returns that of which the mean are the features.
    pub fn describe(&self, graph: &mut GraphBuilder) -> Result<Value> {
        let mut x = graph.conv(Value::IMAGES, &self.stem)?;
        for (layers, transition) in &self.blocks {
            for layer in layers {
                let normed = graph.norm(x, &layer.norm)?;
                let normed = graph.relu(normed);
                let inner = graph.conv_norm(normed, &layer.bottleneck)?;
                let inner = graph.relu(inner);
                let new = graph.conv(inner, &layer.conv)?;
                x = graph.push(Operation::Concat(x, new));
            }
            if let Some(transition) = transition {
                graph.end_stage(x);
                let normed = graph.norm(x, &transition.norm)?;
                let normed = graph.relu(normed);
                let input = graph.conv(normed, &transition.conv)?;
                x = graph.push(Operation::AveragePool { input, kernel: 2 });
            }
        }
        let normed = graph.norm(x, &self.last)?;
        Ok(graph.relu(normed))
    }

    /// Computes every convolution and what follows it apart.
    pub fn without_fused_kernels(&self) {
        let layers = self.blocks.iter().flat_map(|(layers, _)| layers);
        layers.for_each(|layer| layer.bottleneck.without_fused_kernels());
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let block = |(layers, transition): &(Vec<DenseLayer>, Option<Transition>)| {
            (layers.iter().map(DenseLayer::share).collect(), transition.as_ref().map(Transition::share))
        };
        let blocks = self.blocks.iter().map(block).collect();
        Self { stem: self.stem.share(), blocks, last: self.last.share() }
    }

    /// Folds the batch norms that follow a convolution directly. Those in front of a dense layer see a concatenation
    /// of many layers' outputs and stay. All convolutions become `kind`.
    pub fn fold(&mut self, kind: Kind) -> Result<()> {
        self.stem.convert(kind)?;
        for (layers, transition) in &mut self.blocks {
            for layer in layers {
                layer.bottleneck.fold(kind)?;
                layer.conv.convert(kind)?;
            }
            if let Some(transition) = transition {
                transition.conv.convert(kind)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct DenseLayer {
    norm: Norm,
    bottleneck: ConvNorm,
    conv: Conv,
}

impl DenseLayer {
    fn try_new(mut path: WeightPath<'_>, channels: i64) -> Result<Self> {
        let norm = Norm::try_new(path.sub("bn1"), channels)?;
        let bottleneck = Conv::try_new(path.sub("conv1"), ConvShape::one(channels, 4 * GROWTH, 1))?;
        let bottleneck = ConvNorm::new(bottleneck, Norm::try_new(path.sub("bn2"), 4 * GROWTH)?);
        let conv = Conv::try_new(path.sub("conv2"), ConvShape::three(4 * GROWTH, GROWTH, 1))?;
        Ok(Self { norm, bottleneck, conv })
    }

    fn share(&self) -> Self {
        Self { norm: self.norm.share(), bottleneck: self.bottleneck.share(), conv: self.conv.share() }
    }

    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor> {
        let x = relu(self.norm.forward(input, training)?)?;
        let x = self.bottleneck.forward_relu(&x, training)?;
        Ok(Tensor::f_cat(&[input, &self.conv.forward(&x)?], 1)?)
    }
}

/// Halves channels, height and width between two blocks.
#[derive(Debug)]
struct Transition {
    norm: Norm,
    conv: Conv,
}

impl Transition {
    fn try_new(mut path: WeightPath<'_>, channels: i64) -> Result<Self> {
        let norm = Norm::try_new(path.sub("bn1"), channels)?;
        let conv = Conv::try_new(path.sub("conv1"), ConvShape::one(channels, channels / 2, 1))?;
        Ok(Self { norm, conv })
    }

    fn share(&self) -> Self {
        Self { norm: self.norm.share(), conv: self.conv.share() }
    }

    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor> {
        let x = self.conv.forward(&relu(self.norm.forward(input, training)?)?)?;
        Ok(x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?)
    }
}
