//! A network ready to score: folded, on one device, owned by one thread.

use tch::{Device, Kind, Tensor};

use super::{Network, Normalizer, ScoringNetwork};
use crate::error::{Error, Result};
use crate::image::Preprocessing;

/// Turns batches of preprocessed u8 images into logits.
#[derive(Debug)]
pub struct Scorer {
    network: ScoringNetwork,
    normalizer: Normalizer,
    size: (u32, u32),
}

impl Scorer {
    /// Folds `network` where its weights live. On a GPU its convolutions compute in bf16, which keeps f32's range and
    /// halves the traffic.
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub fn new(network: Network, preprocessing: &Preprocessing) -> Result<Self> {
        let device = network.weights().device();
        let kind = if device.is_cuda() { Kind::BFloat16 } else { Kind::Float };
        let normalizer = Normalizer::new(preprocessing.mean, preprocessing.std, device)?;
        Ok(Self { network: network.for_scoring(kind)?, normalizer, size: (preprocessing.height, preprocessing.width) })
    }

    /// A second scorer for another thread. What this one has packed by then for its kernels is shared, so let it score once
    /// before: memory and time are then those of one.
    pub fn share(&self) -> Self {
        Self { network: self.network.share(), normalizer: self.normalizer.share(), size: self.size }
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

    /// The same of a tensor `[B * H * W * 3]` u8 on the CPU.
    ///
    /// # Errors
    /// As [`Scorer::logits`].
    pub fn logits_of(&self, pixels: &Tensor) -> Result<Vec<f32>> {
        let (bytes, image) = (pixels.numel(), self.image_bytes());
        if bytes == 0 || !bytes.is_multiple_of(image) {
            return Err(Error::Internal(format!("{bytes} bytes are no whole number of images of {image}")));
        }
        tch::no_grad(|| {
            let (height, width) = (i64::from(self.size.0), i64::from(self.size.1));
            let images = self.normalizer.images_of(&pixels.f_view([-1, height, width, 3])?)?;
            let logits = self.network.logits(&images)?.f_to_device(Device::Cpu)?;
            Ok(Vec::<f32>::try_from(&logits.f_reshape([-1])?)?)
        })
    }
}
