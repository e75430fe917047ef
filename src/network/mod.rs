//! Networks: an [`Architecture`] makes features, a [`Head`] turns them into logits, a [`Scorer`] does both for u8
//! images.

mod backprop;
mod conv;
mod cudnn;
mod densenet;
mod fused;
mod head;
mod input;
mod layers;
mod mirror;
mod resnet;
mod scorer;
mod values;
mod weights;
mod wide_resnet;
mod winograd;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

pub use self::head::HeadKind;
#[doc(hidden)]
pub use self::head::{Head, normalise};
#[doc(hidden)]
pub use self::input::Normalizer;
#[doc(hidden)]
pub use self::scorer::Scorer;
#[doc(hidden)]
pub use self::weights::{Init, Weight, WeightPath, Weights, WeightsBuilder};
use crate::device::prepare;
use crate::error::{Error, Result};
use crate::image::{Preprocessing, Resize};

/// The networks that this crate builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Architecture {
    /// ResNet-20 for small images (0.27 million parameters).
    #[serde(rename = "resnet20")]
    Resnet20,
    /// The reference's ResNet-34 for 32x32 images (21 million parameters).
    #[serde(rename = "resnet34")]
    Resnet34,
    /// DenseNet-BC with depth 100 and growth 12 for 32x32 images (0.77 million parameters).
    #[serde(rename = "densenet-bc100")]
    DensenetBc100,
    /// Wide ResNet 28-10 for 32x32 images (36 million parameters).
    #[serde(rename = "wrn-28-10")]
    Wrn2810,
    /// ImageNet's ResNet-18 for images of about 224x224 (11 million parameters).
    #[serde(rename = "resnet18")]
    Resnet18,
}

impl Architecture {
    /// All architectures.
    pub const ALL: [Self; 5] = [Self::Resnet20, Self::Resnet34, Self::DensenetBc100, Self::Wrn2810, Self::Resnet18];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resnet20 => "resnet20",
            Self::Resnet34 => "resnet34",
            Self::DensenetBc100 => "densenet-bc100",
            Self::Wrn2810 => "wrn-28-10",
            Self::Resnet18 => "resnet18",
        }
    }

    /// Name of the head in the reference's checkpoints: timm's ImageNet networks say `fc`, the others `classifier`.
    pub const fn head_name(self) -> &'static str {
        match self {
            Self::Resnet18 => "fc",
            _ => "classifier",
        }
    }

    /// Preprocessing for images of `size` (height, width), by default 224x224 for `resnet18` and CIFAR's 32x32 for the
    /// networks that were made for it. Channel statistics are ImageNet's or [`Preprocessing::new`]'s.
    pub fn preprocessing(self, size: Option<(u32, u32)>) -> Preprocessing {
        match (self, size) {
            (Self::Resnet18, None) => Preprocessing::imagenet(),
            (Self::Resnet18, Some((height, width))) => {
                // ImageNet's proportion of 256 to 224.
                let pixels = (height.max(width) * 8).div_ceil(7);
                Preprocessing { height, width, resize: Resize::ShorterSide { pixels }, ..Preprocessing::imagenet() }
            }
            (_, size) => {
                let (height, width) = size.unwrap_or((32, 32));
                Preprocessing::new(height, width)
            }
        }
    }

    /// Channels of what each stage gives: the lengths of the parts of pooled features, of which the last are those that
    /// the head sees.
    pub const fn stages(self) -> &'static [usize] {
        match self {
            Self::Resnet20 => &[16, 32, 64],
            Self::Resnet34 | Self::Resnet18 => &[64, 128, 256, 512],
            // Blocks before the transition that halves their channels.
            Self::DensenetBc100 => &[216, 300, 342],
            Self::Wrn2810 => &[160, 320, 640],
        }
    }

    /// Smallest height and width that leave at least one pixel at the end, and two in front of the last stride.
    pub const fn smallest_image(self) -> u32 {
        match self {
            Self::Resnet18 => 32,
            _ => 8,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|architecture| architecture.name()).collect();
            Error::Config(format!("unknown architecture {text:?}; choose one of {}", names.join(", ")))
        })
    }
}

#[derive(Debug)]
enum Backbone {
    Residual(resnet::ResNet),
    Dense(densenet::DenseNet),
    Wide(wide_resnet::WideResNet),
}

impl Backbone {
    /// Normalised images `[B, 3, H, W]` to features `[B, D]`. `between` gets what each stage but the last gives.
    fn forward(
        &self,
        images: &Tensor,
        training: bool,
        between: &mut dyn FnMut(&Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        match self {
            Self::Residual(network) => network.forward(images, training, between),
            Self::Dense(network) => network.forward(images, training, between),
            Self::Wide(network) => network.forward(images, training, between),
        }
    }
}

/// A network with its head and weights. One thread owns it: tensors may move between threads but not be shared.
#[derive(Debug)]
#[doc(hidden)]
pub struct Network {
    backbone: Backbone,
    head: Head,
    weights: Weights,
}

impl Network {
    /// A network with initial weights fixed by `seed`, on `device`.
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub fn try_new(
        architecture: Architecture,
        head: HeadKind,
        classes: usize,
        device: Device,
        seed: u64,
    ) -> Result<Self> {
        Self::build(architecture, head, classes, WeightsBuilder::new(device, seed))
    }

    /// A network of zeros, to load weights into with [`Weights::load`]: drawing millions of random numbers takes
    /// seconds.
    ///
    /// # Errors
    /// As [`Network::try_new`].
    pub fn zeroed(architecture: Architecture, head: HeadKind, classes: usize, device: Device) -> Result<Self> {
        Self::build(architecture, head, classes, WeightsBuilder::zeroed(device))
    }

    fn build(architecture: Architecture, head: HeadKind, classes: usize, mut builder: WeightsBuilder) -> Result<Self> {
        // A network on the CPU would settle for the whole process that there is no CUDA.
        prepare();
        let root = builder.root();
        let backbone = match architecture {
            Architecture::Resnet20 => Backbone::Residual(resnet::ResNet::resnet20(root)?),
            Architecture::Resnet34 => Backbone::Residual(resnet::ResNet::resnet34(root)?),
            Architecture::Resnet18 => Backbone::Residual(resnet::ResNet::resnet18(root)?),
            Architecture::DensenetBc100 => Backbone::Dense(densenet::DenseNet::bc100(root)?),
            Architecture::Wrn2810 => Backbone::Wide(wide_resnet::WideResNet::wrn28_10(root)?),
        };
        let features = architecture.stages().last().copied().expect("a network has stages");
        let head = Head::try_new(builder.root().sub(architecture.head_name()), head, features as i64, classes)?;
        Ok(Self { backbone, head, weights: builder.finish() })
    }

    /// Normalised images `[B, 3, H, W]` f32 to features `[B, D]`. `training` makes batch norm use the batch.
    pub fn features(&self, images: &Tensor, training: bool) -> Result<Tensor> {
        self.backbone.forward(images, training, &mut |_| Ok(()))
    }

    /// Normalised images `[B, 3, H, W]` f32 to logits `[B, C]` f32, before temperature.
    pub fn logits(&self, images: &Tensor, training: bool) -> Result<Tensor> {
        self.head.logits(&self.features(images, training)?)
    }

    /// A step of training on normalised images `[B, 3, H, W]` f32: the logits `[B, C]` and the objective that `objective`
    /// makes of the head and the features `[B, D]`, and the objective's gradient with respect to all trainable weights, in
    /// the order of [`Weights::trainable`].
    ///
    /// # Errors
    /// Whatever libtorch refuses, and what `objective` does.
    pub fn gradients(
        &self,
        images: &Tensor,
        objective: impl FnOnce(&Head, &Tensor) -> Result<(Tensor, Tensor)>,
    ) -> Result<Gradients> {
        match &self.backbone {
            Backbone::Residual(network) if backprop::suits(images) => self.written_out(network, images, objective),
            _ => {
                let (logits, objective) = objective(&self.head, &self.features(images, true)?)?;
                let gradients = Tensor::f_run_backward(&[&objective], &self.weights.trainable(), false, false)?;
                Ok(Gradients { logits, objective, gradients })
            }
        }
    }

    fn written_out(
        &self,
        network: &resnet::ResNet,
        images: &Tensor,
        objective: impl FnOnce(&Head, &Tensor) -> Result<(Tensor, Tensor)>,
    ) -> Result<Gradients> {
        let (features, tape) = backprop::forward(network, images)?;
        let features = features.f_set_requires_grad(true)?;
        // The head is built after the backbone: its weights come last.
        let head = self.head.parameters();
        let wanted: Vec<Tensor> = [&features].into_iter().chain(head).map(Tensor::shallow_clone).collect();
        let (logits, objective) = objective(&self.head, &features)?;
        let gradients = Tensor::f_run_backward(&[&objective], &wanted, false, false)?;
        let (of_features, of_head) =
            gradients.split_first().ok_or_else(|| Error::Internal("features without gradient".into()))?;
        let mut gradients = backprop::backward(network, tape, of_features)?;
        gradients.extend(of_head.iter().map(Tensor::shallow_clone));
        Ok(Gradients { logits, objective, gradients })
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The named tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The same network for scoring: batch norm is folded into the convolutions where it can be, and their weights
    /// become `kind`.
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub fn for_scoring(mut self, kind: Kind) -> Result<ScoringNetwork> {
        tch::no_grad(|| match &mut self.backbone {
            Backbone::Residual(network) => network.fold(kind),
            Backbone::Dense(network) => network.fold(kind),
            Backbone::Wide(network) => network.fold(kind),
        })?;
        // The store goes, and with it the weights that folding replaced.
        Ok(ScoringNetwork { backbone: self.backbone, head: self.head, kind })
    }
}

/// What a step of training learns from its batch.
#[derive(Debug)]
#[doc(hidden)]
pub struct Gradients {
    /// Logits `[B, C]`.
    pub logits: Tensor,
    /// The training objective, a single number.
    pub objective: Tensor,
    /// Its gradient with respect to each trainable weight, of the weight's size.
    pub gradients: Vec<Tensor>,
}

/// A folded network: it scores and cannot be trained. One thread owns it.
#[derive(Debug)]
#[doc(hidden)]
pub struct ScoringNetwork {
    backbone: Backbone,
    head: Head,
    kind: Kind,
}

impl ScoringNetwork {
    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let backbone = match &self.backbone {
            Backbone::Residual(network) => Backbone::Residual(network.share()),
            Backbone::Dense(network) => Backbone::Dense(network.share()),
            Backbone::Wide(network) => Backbone::Wide(network.share()),
        };
        Self { backbone, head: self.head.share(), kind: self.kind }
    }

    /// What the convolutions compute with.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Computes every convolution and what follows it apart, where a device has chosen to do both at once.
    pub fn without_fused_kernels(&self) {
        match &self.backbone {
            Backbone::Residual(network) => network.without_fused_kernels(),
            Backbone::Dense(network) => network.without_fused_kernels(),
            Backbone::Wide(network) => network.without_fused_kernels(),
        }
    }

    /// Normalised images `[B, 3, H, W]` to logits `[B, C]` f32, before temperature. The head always computes in f32,
    /// where the differences between distances are small.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor> {
        tch::no_grad(|| {
            let features = self.backbone.forward(&images.f_to_kind(self.kind)?, false, &mut |_| Ok(()))?;
            self.head.logits(&features)
        })
    }

    /// The same with the pooled features behind the logits: `[B, C + F]`. These are the means over height and width of
    /// what each stage gives, one stage after the other; those of the last are what the head sees.
    pub fn logits_and_features(&self, images: &Tensor) -> Result<Tensor> {
        tch::no_grad(|| {
            let mut stages = Vec::new();
            let mut between = |x: &Tensor| {
                stages.push(layers::pooled(x)?);
                Ok(())
            };
            let features = self.backbone.forward(&images.f_to_kind(self.kind)?, false, &mut between)?;
            let logits = self.head.logits(&features)?;
            let parts: Vec<&Tensor> = [&logits].into_iter().chain(&stages).chain([&features]).collect();
            Ok(Tensor::f_cat(&parts, 1)?)
        })
    }
}
