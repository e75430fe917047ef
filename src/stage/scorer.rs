//! A network ready to score: folded, on one device, owned by one thread.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::network::{Network, Normalizer};

/// Turns batches of preprocessed u8 images into logits.
#[derive(Debug)]
pub struct Scorer {
    network: Network,
    normalizer: Normalizer,
    size: (u32, u32),
    device: Device,
}

impl Scorer {
    /// Folds the batch norms of `network`.
    pub fn new(mut network: Network, preprocessing: &Preprocessing) -> Result<Self> {
        let device = network.weights().device();
        network.fold()?;
        let normalizer = Normalizer::new(preprocessing.mean, preprocessing.std, device)?;
        Ok(Self { network, normalizer, size: (preprocessing.height, preprocessing.width), device })
    }

    /// Whether the network itself runs in less than f32.
    pub fn is_reduced_precision(&self) -> bool {
        self.device.is_cuda()
    }

    /// Logits `[B, C]`, row-major, before temperature, of images `[B, H, W, 3]` u8. Not finite where the network's
    /// values are not.
    ///
    /// # Errors
    /// [`Error::Internal`] for a buffer that is not a whole number of images; whatever libtorch refuses.
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>> {
        let image = self.size.0 as usize * self.size.1 as usize * 3;
        if pixels.is_empty() || !pixels.len().is_multiple_of(image) {
            return Err(Error::Internal(format!("{} bytes are no whole number of images of {image}", pixels.len())));
        }
        tch::no_grad(|| {
            let images = self.normalizer.images(pixels, self.size.0, self.size.1)?;
            // bf16 keeps f32's range and halves the traffic; head and scores stay f32, where differences are small.
            let features = match self.device.is_cuda() {
                true => tch::autocast(true, || self.network.features(&images, false))?.f_to_kind(Kind::Float)?,
                false => self.network.features(&images, false)?,
            };
            let logits: Tensor = self.network.head().logits(&features)?.f_to_device(Device::Cpu)?;
            Ok(Vec::<f32>::try_from(&logits.f_reshape([-1])?)?)
        })
    }
}
