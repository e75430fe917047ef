//! From u8 pixels to the network's input: bytes cross to the device as they are and are normalised there.

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// Turns batches of u8 pixels into normalised images on one device.
#[derive(Debug)]
pub struct Normalizer {
    mean: Tensor,
    inverse_std: Tensor,
    /// `-mean / std`: what black becomes.
    shift: Tensor,
    device: Device,
}

impl Normalizer {
    /// `mean` and `std` per channel (red, green, blue) on the scale 0 to 1.
    pub fn try_new(mean: [f32; 3], std: [f32; 3], device: Device) -> Result<Self> {
        let shift = [0, 1, 2].map(|channel| -mean[channel] / std[channel]);
        Ok(Self {
            shift: Tensor::f_from_slice(&shift)?.f_to_device(device)?,
            mean: Tensor::f_from_slice(&mean.map(|value| value * 255.0))?.f_to_device(device)?,
            inverse_std: Tensor::f_from_slice(&std.map(|value| 1.0 / (value * 255.0)))?.f_to_device(device)?,
            device,
        })
    }

    /// The same values under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let (mean, inverse_std) = (self.mean.shallow_clone(), self.inverse_std.shallow_clone());
        Self { mean, inverse_std, shift: self.shift.shallow_clone(), device: self.device }
    }

    /// Pixels `[B, H, W, 3]` u8, row-major, to images `[B, 3, H, W]` f32 laid out channels-last.
    pub fn images(&self, pixels: &[u8], height: u32, width: u32) -> Result<Tensor> {
        let (height, width) = (i64::from(height), i64::from(width));
        let rows = pixels.len() as i64 / (height * width * 3).max(1);
        self.images_of(&Tensor::f_from_data_size(pixels, &[rows, height, width, 3], Kind::Uint8)?, Kind::Float)
    }

    /// The same from a tensor `[B, H, W, 3]` u8, as images of `kind`.
    pub fn images_of(&self, pixels: &Tensor, kind: Kind) -> Result<Tensor> {
        let pixels = pixels.f_to_device(self.device)?;
        let images = match kind {
            Kind::Float => {
                let mut images = pixels.f_to_kind(Kind::Float)?;
                let _ = images.f_sub_(&self.mean)?;
                let _ = images.f_mul_(&self.inverse_std)?;
                images
            }
            // A GPU does it in one pass over memory, in f32 before it rounds.
            kind => {
                let images = Tensor::f_empty(pixels.size(), (kind, self.device))?;
                self.shift.f_addcmul_out(&images, &pixels, &self.inverse_std)?
            }
        };
        Ok(images.f_permute([0, 3, 1, 2])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_in_f16_gives_what_f32_rounded_gives() -> Result<()> {
        let pixels: Vec<u8> = (0..=255).flat_map(|value| [value; 3]).collect();
        let normalizer = Normalizer::try_new([0.49, 0.48, 0.44], [0.24, 0.25, 0.26], Device::Cpu)?;
        let exact = normalizer.images(&pixels, 16, 16)?;
        let pixels = Tensor::f_from_data_size(&pixels, &[1, 16, 16, 3], Kind::Uint8)?;
        for (kind, tolerance) in [(Kind::Half, 1.1e-3), (Kind::BFloat16, 9e-3)] {
            let images = normalizer.images_of(&pixels, kind)?;
            assert_eq!((images.kind(), images.size(), images.stride()), (kind, exact.size(), exact.stride()));
            let worst = images.f_to_kind(Kind::Float)?.f_sub(&exact)?.f_abs()?.f_max()?.f_double_value(&[])?;
            assert!(worst <= tolerance, "{kind:?}: {worst}");
        }
        Ok(())
    }
}
