//! Networks: an [`Architecture`] makes features, a [`Head`] turns them into logits, a [`Scorer`] does both for u8
//! images.

mod architecture;
mod backprop;
mod conv;
mod cudnn;
mod densenet;
mod fused;
#[doc(hidden)]
pub mod graph;
mod head;
mod input;
mod layers;
mod mirror;
mod resnet;
mod scorer;
mod values;
mod vgg;
mod weights;
mod whitened;
mod wide_resnet;
mod winograd;

use tch::{Device, Kind, Tensor};

pub use self::architecture::Architecture;
use self::backprop::WrittenOut;
pub use self::head::HeadKind;
#[doc(hidden)]
pub use self::head::{Head, normalise};
#[doc(hidden)]
pub use self::input::Normalizer;
use self::resnet::Plan;
#[doc(hidden)]
pub use self::scorer::Scorer;
#[doc(hidden)]
pub use self::weights::{Init, Weight, WeightPath, Weights, WeightsBuilder};
#[doc(hidden)]
pub use self::whitened::tensors as head_tensors;
use crate::device::prepare;
use crate::error::{Error, Result};

#[derive(Debug)]
enum Backbone {
    Residual(resnet::ResNet),
    Plain(vgg::Vgg),
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
            Self::Plain(network) => network.forward(images, training, between),
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
        let residual = |path, plan| Ok::<_, Error>(Backbone::Residual(resnet::ResNet::try_new(path, plan)?));
        let backbone = match architecture {
            Architecture::Resnet20 => residual(root, &Plan::RESNET20)?,
            Architecture::Resnet34 => residual(root, &Plan::RESNET34)?,
            Architecture::Resnet18 => residual(root, &Plan::RESNET18)?,
            Architecture::Resnet34Imagenet => residual(root, &Plan::RESNET34_IMAGENET)?,
            Architecture::Resnet50 => residual(root, &Plan::RESNET50)?,
            Architecture::Resnet101 => residual(root, &Plan::RESNET101)?,
            Architecture::Wrn502 => residual(root, &Plan::WIDE_RESNET50_2)?,
            Architecture::Vgg8 => Backbone::Plain(vgg::Vgg::vgg8(root)?),
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

    /// A step of training on normalised images `[B, 3, H, W]` f32: the logits `[B, C]` and the objective that
    /// `objective` makes of the head and the features `[B, D]`, and the objective's gradient with respect to all
    /// trainable weights, in the order of [`Weights::trainable`].
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
            Backbone::Plain(network) if backprop::suits(images) => self.written_out(network, images, objective),
            _ => {
                let (logits, objective) = objective(&self.head, &self.features(images, true)?)?;
                let gradients = Tensor::f_run_backward(&[&objective], &self.weights.trainable(), false, false)?;
                Ok(Gradients { logits, objective, gradients })
            }
        }
    }

    fn written_out(
        &self,
        network: &impl WrittenOut,
        images: &Tensor,
        objective: impl FnOnce(&Head, &Tensor) -> Result<(Tensor, Tensor)>,
    ) -> Result<Gradients> {
        let (features, tape) = tch::no_grad(|| network.forward(images))?;
        let features = features.f_set_requires_grad(true)?;
        // The head is built after the backbone: its weights come last.
        let head = self.head.parameters();
        let wanted: Vec<Tensor> = [&features].into_iter().chain(head).map(Tensor::shallow_clone).collect();
        let (logits, objective) = objective(&self.head, &features)?;
        let gradients = Tensor::f_run_backward(&[&objective], &wanted, false, false)?;
        let (of_features, of_head) =
            gradients.split_first().ok_or_else(|| Error::Internal("features without gradient".into()))?;
        let mut gradients = tch::no_grad(|| network.backward(tape, of_features))?;
        gradients.extend(of_head.iter().map(Tensor::shallow_clone));
        Ok(Gradients { logits, objective, gradients })
    }

    /// Numbers of the head's trainable weights, which come last among all.
    pub fn head_parameters(&self) -> usize {
        self.head.parameters().iter().map(|weight| weight.numel()).sum()
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The named tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Its operations and its head's numbers, as they are in scoring on a CPU.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub fn graph(&self) -> Result<(graph::Graph, graph::HeadNumbers)> {
        let mut builder = graph::GraphBuilder::default();
        let last = tch::no_grad(|| match &self.backbone {
            Backbone::Residual(network) => network.describe(&mut builder),
            Backbone::Plain(network) => network.describe(&mut builder),
            Backbone::Dense(network) => network.describe(&mut builder),
            Backbone::Wide(network) => network.describe(&mut builder),
        })?;
        Ok((builder.finish(last), self.head.numbers()?))
    }

    /// The same network for scoring: batch norm is folded into the convolutions where it can be, and their weights
    /// become `kind`.
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub fn for_scoring(self, kind: Kind) -> Result<ScoringNetwork> {
        let Self { mut backbone, head, weights } = self;
        // The store goes first: then each weight goes as folding replaces it.
        drop(weights);
        tch::no_grad(|| match &mut backbone {
            Backbone::Residual(network) => network.fold(kind),
            Backbone::Plain(network) => network.fold(kind),
            Backbone::Dense(network) => network.fold(kind),
            Backbone::Wide(network) => network.fold(kind),
        })?;
        Ok(ScoringNetwork { backbone, head, kind })
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
            Backbone::Plain(network) => Backbone::Plain(network.share()),
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
            Backbone::Plain(network) => network.without_fused_kernels(),
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
