//! Residual networks: He et al., *Deep Residual Learning for Image Recognition* (arXiv 1512.03385).
//!
//! Three of one kind: ResNet-20 (section 4.2 there, with projections in the shortcuts), the reference's ResNet-34
//! for 32x32 images, and ImageNet's ResNet-18 with its large stem.

use tch::{Kind, Tensor};

use super::conv::ConvShape;
use super::layers::{Conv, ConvNorm, Norm, global_average_pool};
use super::weights::WeightPath;
use crate::error::Result;

/// What tells the residual networks apart.
struct Plan {
    channels: &'static [i64],
    blocks: &'static [usize],
    imagenet_stem: bool,
    /// Name of a block's projection in the checkpoints: the reference says `shortcut`, torchvision `downsample`.
    projection: &'static str,
}

const RESNET20: Plan =
    Plan { channels: &[16, 32, 64], blocks: &[3, 3, 3], imagenet_stem: false, projection: "shortcut" };
const RESNET34: Plan =
    Plan { channels: &[64, 128, 256, 512], blocks: &[3, 4, 6, 3], imagenet_stem: false, projection: "shortcut" };
const RESNET18: Plan =
    Plan { channels: &[64, 128, 256, 512], blocks: &[2, 2, 2, 2], imagenet_stem: true, projection: "downsample" };

/// A residual network of basic blocks, without its classifier.
#[derive(Debug)]
pub struct ResNet {
    pub(super) stem: ConvNorm,
    pub(super) max_pool: bool,
    pub(super) blocks: Vec<BasicBlock>,
    /// Numbers of the blocks with which the stages begin, but for the first.
    stages: Vec<usize>,
}

impl ResNet {
    /// ResNet-20 for small images: 3 stages of 3 blocks, 64 features.
    pub fn resnet20(path: WeightPath<'_>) -> Result<Self> {
        Self::try_new(path, &RESNET20)
    }

    /// The reference's ResNet-34 for 32x32 images: 512 features.
    pub fn resnet34(path: WeightPath<'_>) -> Result<Self> {
        Self::try_new(path, &RESNET34)
    }

    /// ImageNet's ResNet-18 (torchvision's layout): 7x7 stem with stride 2 and max pooling, 512 features.
    pub fn resnet18(path: WeightPath<'_>) -> Result<Self> {
        Self::try_new(path, &RESNET18)
    }

    fn try_new(mut path: WeightPath<'_>, plan: &Plan) -> Result<Self> {
        let mut inputs = plan.channels[0];
        let stem = match plan.imagenet_stem {
            true => ConvShape { inputs: 3, outputs: inputs, kernel: 7, stride: 2, padding: 3, bias: false },
            false => ConvShape::three(3, inputs, 1),
        };
        let stem = ConvNorm::new(Conv::try_new(path.sub("conv1"), stem)?, Norm::try_new(path.sub("bn1"), inputs)?);
        let (mut blocks, mut stages) = (Vec::new(), Vec::new());
        for (stage, (&outputs, &count)) in plan.channels.iter().zip(plan.blocks).enumerate() {
            let mut layer = path.sub(format_args!("layer{}", stage + 1));
            stages.extend((stage > 0).then_some(blocks.len()));
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(BasicBlock::try_new(layer.sub(index), inputs, outputs, stride, plan.projection)?);
                inputs = outputs;
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

    /// The max pooling after ImageNet's stem.
    pub(super) fn pool(x: &Tensor) -> Result<Tensor> {
        Ok(x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?)
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let blocks = self.blocks.iter().map(BasicBlock::share).collect();
        Self { stem: self.stem.share(), max_pool: self.max_pool, blocks, stages: self.stages.clone() }
    }

    /// Folds batch norm into the convolutions and turns them into `kind`, for scoring.
    pub fn fold(&mut self, kind: Kind) -> Result<()> {
        self.stem.fold(kind)?;
        self.blocks.iter_mut().try_for_each(|block| block.fold(kind))
    }

    /// Computes every convolution and what follows it apart.
    pub fn without_fused_kernels(&self) {
        let blocks = self.blocks.iter().flat_map(|block| [&block.first, &block.second]);
        [&self.stem].into_iter().chain(blocks).for_each(ConvNorm::without_fused_kernels);
    }
}

/// Two convolutions and a shortcut, which is a projection where sizes change.
#[derive(Debug)]
pub(super) struct BasicBlock {
    pub(super) first: ConvNorm,
    pub(super) second: ConvNorm,
    pub(super) projection: Option<ConvNorm>,
}

impl BasicBlock {
    fn try_new(mut path: WeightPath<'_>, inputs: i64, outputs: i64, stride: i64, projection: &str) -> Result<Self> {
        let first = Conv::try_new(path.sub("conv1"), ConvShape::three(inputs, outputs, stride))?;
        let first = ConvNorm::new(first, Norm::try_new(path.sub("bn1"), outputs)?);
        let second = Conv::try_new(path.sub("conv2"), ConvShape::three(outputs, outputs, 1))?;
        let second = ConvNorm::new(second, Norm::try_new(path.sub("bn2"), outputs)?);
        let projection = match stride != 1 || inputs != outputs {
            true => {
                let mut path = path.sub(projection);
                let conv = Conv::try_new(path.sub("0"), ConvShape::one(inputs, outputs, stride))?;
                Some(ConvNorm::new(conv, Norm::try_new(path.sub("1"), outputs)?))
            }
            false => None,
        };
        Ok(Self { first, second, projection })
    }

    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor> {
        let x = self.first.forward_relu(input, training)?;
        match &self.projection {
            Some(projection) => self.second.forward_add_relu(&x, &projection.forward(input, training)?, training),
            // The block before made `input` for this one alone.
            None => self.second.forward_add_relu(&x, input, training),
        }
    }

    fn share(&self) -> Self {
        let projection = self.projection.as_ref().map(ConvNorm::share);
        Self { first: self.first.share(), second: self.second.share(), projection }
    }

    fn fold(&mut self, kind: Kind) -> Result<()> {
        self.first.fold(kind)?;
        self.second.fold(kind)?;
        self.projection.as_mut().map_or(Ok(()), |projection| projection.fold(kind))
    }
}
