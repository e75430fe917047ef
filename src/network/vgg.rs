//! A small plain network in the manner of Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale
//! Image Recognition* (arXiv 1409.1556), with the widths of Jordan's airbench (*94% on CIFAR-10 in 3.29 Seconds on a
//! Single GPU*, arXiv 2404.00498): few, wide layers of 3x3 without strides, which a processor computes at its peak.
//!
//! VGG-8 has a stem of 32 channels, three stages of two convolutions, and the classifier. A stage halves height and
//! width between its two convolutions. Batch norm comes before the maximum and not after it as in airbench: it then
//! belongs to a convolution, as everywhere here, and since the rectifier is monotone the order of the other two does
//! not matter.

use tch::{Kind, Tensor};

use super::conv::ConvShape;
use super::graph::{GraphBuilder, Operation, Value};
use super::layers::{ConvNorm, global_average_pool};
use super::weights::WeightPath;
use crate::error::{Error, Result};

/// Output channels of the stem.
const STEM: i64 = 32;
/// Output channels of each stage.
const CHANNELS: [i64; 3] = [48, 192, 256];

/// VGG-8 without its classifier: 256 features.
#[derive(Debug)]
pub struct Vgg {
    pub(super) stem: ConvNorm,
    pub(super) stages: Vec<Stage>,
}

/// Two convolutions, and between them a maximum over 2x2 pixels.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) first: ConvNorm,
    pub(super) second: ConvNorm,
}

impl Vgg {
    /// Builds the network at `path`.
    pub fn vgg8(mut path: WeightPath<'_>) -> Result<Self> {
        let stem = ConvNorm::named(&mut path, "conv1", "bn1", ConvShape::three(3, STEM, 1))?;
        let mut inputs = STEM;
        let mut stages = Vec::new();
        for (stage, outputs) in CHANNELS.into_iter().enumerate() {
            let mut path = path.sub(format_args!("layer{}", stage + 1));
            let first = ConvNorm::named(&mut path, "conv1", "bn1", ConvShape::three(inputs, outputs, 1))?;
            let second = ConvNorm::named(&mut path, "conv2", "bn2", ConvShape::three(outputs, outputs, 1))?;
            stages.push(Stage { first, second });
            inputs = outputs;
        }
        Ok(Self { stem, stages })
    }

    /// Normalised images `[B, 3, H, W]` to features `[B, 256]`. `between` gets what each stage but the last gives.
    pub fn forward(
        &self,
        images: &Tensor,
        training: bool,
        between: &mut dyn FnMut(&Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let mut x = self.stem.forward_relu(images, training)?;
        for (number, stage) in self.stages.iter().enumerate() {
            if number > 0 {
                between(&x)?;
            }
            x = Self::pool(&stage.first.forward_relu(&x, training)?)?;
            x = stage.second.forward_relu(&x, training)?;
        }
        global_average_pool(&x)
    }

    /// Appends the network's operations; returns what the last stage gives.
    pub fn describe(&self, graph: &mut GraphBuilder) -> Result<Value> {
        let relu = |graph: &mut GraphBuilder, input, layer| {
            let sum = graph.conv_norm(input, layer)?;
            Ok::<_, Error>(graph.relu(sum))
        };
        let mut x = relu(graph, Value::IMAGES, &self.stem)?;
        for (number, stage) in self.stages.iter().enumerate() {
            if number > 0 {
                graph.end_stage(x);
            }
            x = relu(graph, x, &stage.first)?;
            x = graph.push(Operation::MaxPool { input: x, kernel: 2, stride: 2, padding: 0 });
            x = relu(graph, x, &stage.second)?;
        }
        Ok(x)
    }

    /// The maximum over 2x2 pixels.
    pub(super) fn pool(x: &Tensor) -> Result<Tensor> {
        Ok(x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?)
    }

    fn layers(&self) -> impl Iterator<Item = &ConvNorm> {
        [&self.stem].into_iter().chain(self.stages.iter().flat_map(|stage| [&stage.first, &stage.second]))
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let stages = self.stages.iter();
        let stages = stages.map(|stage| Stage { first: stage.first.share(), second: stage.second.share() });
        Self { stem: self.stem.share(), stages: stages.collect() }
    }

    /// Folds batch norm into the convolutions and turns them into `kind`, for scoring.
    pub fn fold(&mut self, kind: Kind) -> Result<()> {
        self.stem.fold(kind)?;
        self.stages
            .iter_mut()
            .flat_map(|stage| [&mut stage.first, &mut stage.second])
            .try_for_each(|pair| pair.fold(kind))
    }

    /// Computes every convolution and what follows it apart.
    pub fn without_fused_kernels(&self) {
        self.layers().for_each(ConvNorm::without_fused_kernels);
    }
}
