//! A network ready to score: folded, on one device, owned by one thread.

use tch::{Device, Kind, Tensor};

use super::{Network, Normalizer, ScoringNetwork};
use crate::error::{Error, Result};
use crate::image::Preprocessing;

/// Turns batches of preprocessed u8 images into logits.
#[derive(Debug)]
pub struct Scorer {
    network: ScoringNetwork,
    /// Scores the batches whose logits are not finite in `network`.
    wider: Option<ScoringNetwork>,
    normalizer: Normalizer,
    size: (u32, u32),
}

impl Scorer {
    /// Folds `network` where its weights live. Its convolutions compute in f32.
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub fn try_new(network: Network, preprocessing: &Preprocessing) -> Result<Self> {
        Self::with_kinds([(network, Kind::Float)], preprocessing)
    }

    /// As [`Scorer::try_new`] with convolutions in the kind of the first network and, where values leave its range,
    /// again in that of the second: both have the same weights. f16 is eight times as precise as bf16, and bf16 has the
    /// range of f32.
    ///
    /// # Errors
    /// As [`Scorer::try_new`].
    pub fn with_kinds(
        networks: impl IntoIterator<Item = (Network, Kind)>,
        preprocessing: &Preprocessing,
    ) -> Result<Self> {
        let mut networks = networks.into_iter();
        let (network, kind) = networks.next().expect("callers give at least one network");
        let device = network.weights().device();
        let wider = networks.next().map(|(network, kind)| network.for_scoring(kind)).transpose()?;
        let normalizer = Normalizer::try_new(preprocessing.mean, preprocessing.std, device)?;
        let size = (preprocessing.height, preprocessing.width);
        Ok(Self { network: network.for_scoring(kind)?, wider, normalizer, size })
    }

    /// The wider network as a scorer of its own, for another thread; this one then gives what it gives.
    pub fn take_wider(&mut self) -> Option<Self> {
        let network = self.wider.take()?;
        Some(Self { network, wider: None, normalizer: self.normalizer.share(), size: self.size })
    }

    /// Computes every convolution and what follows it apart, where a device has chosen to do both at once.
    pub fn without_fused_kernels(&self) {
        self.network.without_fused_kernels();
    }

    /// A second scorer for another thread. What this one has packed by then for its kernels is shared, so let it score
    /// once before: memory and time are then those of one.
    pub fn share(&self) -> Self {
        Self {
            network: self.network.share(),
            wider: self.wider.as_ref().map(ScoringNetwork::share),
            normalizer: self.normalizer.share(),
            size: self.size,
        }
    }

    /// Whether the network itself runs in less than f32.
    pub fn is_reduced_precision(&self) -> bool {
        self.network.kind() != Kind::Float
    }

    /// Logits `[B, C]`, row-major, before temperature, of images `[B, H, W, 3]` u8. Not finite where the network's
    /// values are not.
    ///
    /// # Errors
    /// [`Error::Internal`] for a buffer that is not a whole number of images; whatever libtorch refuses.
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>> {
        self.logits_of(&Tensor::f_from_slice(pixels)?)
    }

    /// Bytes of one preprocessed image.
    pub fn image_bytes(&self) -> usize {
        self.size.0 as usize * self.size.1 as usize * 3
    }

    /// The same of a tensor `[B * H * W * 3]` u8, on the CPU or the scorer's device.
    ///
    /// # Errors
    /// As [`Scorer::logits`].
    pub fn logits_of(&self, pixels: &Tensor) -> Result<Vec<f32>> {
        tch::no_grad(|| {
            let images = self.images(pixels)?;
            let logits = to_host(&self.network.logits(&images)?)?;
            match &self.wider {
                Some(wider) if logits.iter().any(|logit| !logit.is_finite()) => to_host(&wider.logits(&images)?),
                _ => Ok(logits),
            }
        })
    }

    /// Logits `[B, C]` f32 on the scorer's device, without waiting for them, of pixels `[B * H * W * 3]` u8 that lie
    /// there. Not finite where values leave the range of the network's kind.
    ///
    /// # Errors
    /// As [`Scorer::logits`].
    pub fn logits_on_device(&self, pixels: &Tensor) -> Result<Tensor> {
        tch::no_grad(|| self.network.logits(&self.images(pixels)?))
    }

    fn images(&self, pixels: &Tensor) -> Result<Tensor> {
        let (bytes, image) = (pixels.numel(), self.image_bytes());
        if bytes == 0 || !bytes.is_multiple_of(image) {
            return Err(Error::Internal(format!("{bytes} bytes are no whole number of images of {image}")));
        }
        let pixels = pixels.f_view([-1, i64::from(self.size.0), i64::from(self.size.1), 3])?;
        self.normalizer.images_of(&pixels, self.network.kind())
    }
}

fn to_host(logits: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::<f32>::try_from(&logits.f_to_device(Device::Cpu)?.f_reshape([-1])?)?)
}
