//! Residual networks: He et al., *Deep Residual Learning for Image Recognition* (arXiv 1512.03385).
//!
//! Of basic blocks ResNet-20 (section 4.2 there, with projections in the shortcuts) and the reference's ResNet-34, both
//! for small images, and ImageNet's ResNet-18 and ResNet-34. Of bottlenecks ImageNet's ResNet-50 and ResNet-101, and
//! Wide ResNet-50-2 (Zagoruyko, Komodakis, arXiv 1605.07146). ImageNet's have torchvision's layout, which is timm's
//! too.

use tch::{Kind, Tensor};

use super::conv::ConvShape;
use super::graph::{GraphBuilder, Operation, Value};
use super::layers::{ConvNorm, global_average_pool};
use super::weights::WeightPath;
use crate::error::Result;

/// Output channels of a bottleneck by those of its stage.
const EXPANSION: i64 = 4;

/// What tells the residual networks apart.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Channels of the stem.
    stem: i64,
    /// Whether the stem is ImageNet's: 7x7 with stride 2, and max pooling.
    imagenet_stem: bool,
    block: BlockKind,
    /// Channels of each stage; a bottleneck puts out four times as many.
    channels: &'static [i64],
    /// Blocks of each stage.
    blocks: &'static [usize],
    /// Name of a block's projection in the checkpoints: the reference says `shortcut`, torchvision `downsample`.
    projection: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1, the 3x3 with this many times the stage's channels. The stride is the 3x3's, as in torchvision
    /// and timm.
    Bottleneck { width: i64 },
}

/// Channels of ImageNet's networks.
const IMAGENET: Plan = Plan {
    stem: 64,
    imagenet_stem: true,
    block: BlockKind::Basic,
    channels: &[64, 128, 256, 512],
    blocks: &[2, 2, 2, 2],
    projection: "downsample",
};
const BOTTLENECKS: Plan = Plan { block: BlockKind::Bottleneck { width: 1 }, blocks: &[3, 4, 6, 3], ..IMAGENET };

impl Plan {
    /// ResNet-20 for small images: 3 stages of 3 blocks, 64 features.
    pub const RESNET20: Self = Self {
        stem: 16,
        imagenet_stem: false,
        block: BlockKind::Basic,
        channels: &[16, 32, 64],
        blocks: &[3, 3, 3],
        projection: "shortcut",
    };
    /// The reference's ResNet-34 for 32x32 images: 512 features.
    pub const RESNET34: Self = Self { imagenet_stem: false, blocks: &[3, 4, 6, 3], projection: "shortcut", ..IMAGENET };
    /// ImageNet's ResNet-18: 512 features.
    pub const RESNET18: Self = IMAGENET;
    /// ImageNet's ResNet-34: 512 features.
    pub const RESNET34_IMAGENET: Self = Self { blocks: &[3, 4, 6, 3], ..IMAGENET };
    /// ImageNet's ResNet-50: 2,048 features.
    pub const RESNET50: Self = BOTTLENECKS;
    /// ImageNet's ResNet-101: 2,048 features.
    pub const RESNET101: Self = Self { blocks: &[3, 4, 23, 3], ..BOTTLENECKS };
    /// Wide ResNet-50-2, whose bottlenecks are twice as wide: 2,048 features.
    pub const WIDE_RESNET50_2: Self = Self { block: BlockKind::Bottleneck { width: 2 }, ..BOTTLENECKS };
}

/// A residual network, without its classifier.
#[derive(Debug)]
pub struct ResNet {
    pub(super) stem: ConvNorm,
    pub(super) max_pool: bool,
    pub(super) blocks: Vec<Block>,
    /// Numbers of the blocks with which the stages begin, but for the first.
    stages: Vec<usize>,
}

impl ResNet {
    /// The network of this plan.
    pub fn try_new(mut path: WeightPath<'_>, plan: &Plan) -> Result<Self> {
        let mut inputs = plan.stem;
        let stem = match plan.imagenet_stem {
            true => ConvShape { inputs: 3, outputs: inputs, kernel: 7, stride: 2, padding: 3, bias: false },
            false => ConvShape::three(3, inputs, 1),
        };
        let stem = ConvNorm::named(&mut path, "conv1", "bn1", stem)?;
        let (mut blocks, mut stages) = (Vec::new(), Vec::new());
        for (stage, (&channels, &count)) in plan.channels.iter().zip(plan.blocks).enumerate() {
            let mut layer = path.sub(format_args!("layer{}", stage + 1));
            stages.extend((stage > 0).then_some(blocks.len()));
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let shapes = plan.block.shapes(inputs, channels, stride);
                let block = Block::try_new(layer.sub(index), &shapes, stride, plan.projection)?;
                inputs = block.outputs;
                blocks.push(block);
            }
        }
        Ok(Self { stem, max_pool: plan.imagenet_stem, blocks, stages })
    }

    /// Normalised images `[B, 3, H, W]` to features `[B, D]`. `between` gets what each stage but the last gives.
    pub fn forward(
        &self,
        images: &Tensor,
        training: bool,
        between: &mut dyn FnMut(&Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let mut x = self.stem.forward_relu(images, training)?;
        if self.max_pool {
            x = Self::pool(&x)?;
        }
        for (number, block) in self.blocks.iter().enumerate() {
            if self.stages.contains(&number) {
                between(&x)?;
            }
            x = block.forward(&x, training)?;
        }
        global_average_pool(&x)
    }

    /// Appends the network's operations; returns what the last stage gives.
    pub fn describe(&self, graph: &mut GraphBuilder) -> Result<Value> {
        let stem = graph.conv_norm(Value::IMAGES, &self.stem)?;
        let mut x = graph.relu(stem);
        if self.max_pool {
            x = graph.push(Operation::MaxPool { input: x, kernel: 3, stride: 2, padding: 1 });
        }
        for (number, block) in self.blocks.iter().enumerate() {
            if self.stages.contains(&number) {
                graph.end_stage(x);
            }
            x = block.describe(graph, x)?;
        }
        Ok(x)
    }

    /// The max pooling after ImageNet's stem.
    pub(super) fn pool(x: &Tensor) -> Result<Tensor> {
        Ok(x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?)
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let blocks = self.blocks.iter().map(Block::share).collect();
        Self { stem: self.stem.share(), max_pool: self.max_pool, blocks, stages: self.stages.clone() }
    }

    /// Folds batch norm into the convolutions and turns them into `kind`, for scoring.
    pub fn fold(&mut self, kind: Kind) -> Result<()> {
        self.stem.fold(kind)?;
        self.blocks.iter_mut().try_for_each(|block| block.fold(kind))
    }

    /// Computes every convolution and what follows it apart.
    pub fn without_fused_kernels(&self) {
        let blocks = self.blocks.iter().flat_map(|block| &block.layers);
        [&self.stem].into_iter().chain(blocks).for_each(ConvNorm::without_fused_kernels);
    }
}

impl BlockKind {
    /// The convolutions of a block whose last one may be followed by a sum.
    fn shapes(self, inputs: i64, channels: i64, stride: i64) -> Vec<ConvShape> {
        match self {
            Self::Basic => vec![ConvShape::three(inputs, channels, stride), ConvShape::three(channels, channels, 1)],
            Self::Bottleneck { width } => {
                let inner = width * channels;
                let outputs = EXPANSION * channels;
                let last = ConvShape::one(inner, outputs, 1);
                vec![ConvShape::one(inputs, inner, 1), ConvShape::three(inner, inner, stride), last]
            }
        }
    }
}

/// Convolutions one after the other and a shortcut around them, which is a projection where sizes change.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) layers: Vec<ConvNorm>,
    pub(super) projection: Option<ConvNorm>,
    outputs: i64,
}

impl Block {
    fn try_new(mut path: WeightPath<'_>, shapes: &[ConvShape], stride: i64, projection: &str) -> Result<Self> {
        let number = |(index, shape): (usize, &ConvShape)| {
            let number = index + 1;
            ConvNorm::named(&mut path, &format!("conv{number}"), &format!("bn{number}"), *shape)
        };
        let layers = shapes.iter().enumerate().map(number).collect::<Result<Vec<_>>>()?;
        let (first, last) = (shapes.first(), shapes.last());
        let (inputs, outputs) =
            first.zip(last).map(|(first, last)| (first.inputs, last.outputs)).expect("a block has convolutions");
        let projection = match stride != 1 || inputs != outputs {
            true => {
                Some(ConvNorm::named(&mut path.sub(projection), "0", "1", ConvShape::one(inputs, outputs, stride))?)
            }
            false => None,
        };
        Ok(Self { layers, projection, outputs })
    }

    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor> {
        let (last, others) = self.layers.split_last().expect("a block has convolutions");
        let mut x = input.shallow_clone();
        for layer in others {
            x = layer.forward_relu(&x, training)?;
        }
        match &self.projection {
            Some(projection) => last.forward_add_relu(&x, &projection.forward(input, training)?, training),
            // The block before made `input` for this one alone.
            None => last.forward_add_relu(&x, input, training),
        }
    }

    fn describe(&self, graph: &mut GraphBuilder, input: Value) -> Result<Value> {
        let (last, others) = self.layers.split_last().expect("a block has convolutions");
        let mut x = input;
        for layer in others {
            let sum = graph.conv_norm(x, layer)?;
            x = graph.relu(sum);
        }
        let x = graph.conv_norm(x, last)?;
        let shortcut = match &self.projection {
            Some(projection) => graph.conv_norm(input, projection)?,
            None => input,
        };
        let sum = graph.push(Operation::Add(x, shortcut));
        Ok(graph.relu(sum))
    }

    fn share(&self) -> Self {
        let layers = self.layers.iter().map(ConvNorm::share).collect();
        Self { layers, projection: self.projection.as_ref().map(ConvNorm::share), outputs: self.outputs }
    }

    fn fold(&mut self, kind: Kind) -> Result<()> {
        self.layers.iter_mut().chain(&mut self.projection).try_for_each(|layer| layer.fold(kind))
    }
}
