//! From u8 pixels to the network's input: bytes cross to the device as they are and are normalised there.

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// Turns batches of u8 pixels into normalised images on one device.
#[derive(Debug)]
pub struct Normalizer {
    mean: Tensor,
    inverse_std: Tensor,
    device: Device,
}

impl Normalizer {
    /// `mean` and `std` per channel (red, green, blue) on the scale 0 to 1.
    pub fn try_new(mean: [f32; 3], std: [f32; 3], device: Device) -> Result<Self> {
        Ok(Self {
            mean: Tensor::f_from_slice(&mean.map(|value| value * 255.0))?.f_to_device(device)?,
            inverse_std: Tensor::f_from_slice(&std.map(|value| 1.0 / (value * 255.0)))?.f_to_device(device)?,
            device,
        })
    }

    /// The same values under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let (mean, inverse_std) = (self.mean.shallow_clone(), self.inverse_std.shallow_clone());
        Self { mean, inverse_std, device: self.device }
    }

    /// Pixels `[B, H, W, 3]` u8, row-major, to images `[B, 3, H, W]` f32 laid out channels-last.
    pub fn images(&self, pixels: &[u8], height: u32, width: u32) -> Result<Tensor> {
        let (height, width) = (i64::from(height), i64::from(width));
        let rows = pixels.len() as i64 / (height * width * 3).max(1);
        self.images_of(&Tensor::f_from_data_size(pixels, &[rows, height, width, 3], Kind::Uint8)?)
    }

    /// The same from a tensor `[B, H, W, 3]` u8. From [`pinned`] memory the host does not wait for the copy to the
    /// device.
    pub fn images_of(&self, pixels: &Tensor) -> Result<Tensor> {
        let pixels = pixels.f_internal_to_copy((Kind::Uint8, self.device), true)?;
        let mut images = pixels.f_to_kind(Kind::Float)?;
        let _ = images.f_sub_(&self.mean)?;
        let _ = images.f_mul_(&self.inverse_std)?;
        Ok(images.f_permute([0, 3, 1, 2])?)
    }
}

/// The bytes `[N]` in page-locked memory, which a GPU reads on its own, beside what it computes.
///
/// # Errors
/// Whatever libtorch refuses, for example where there is no GPU.
pub fn pinned(bytes: &[u8]) -> Result<Tensor> {
    // The public operator warns on standard error at each call that its argument is deprecated; this one does not.
    Ok(Tensor::f_from_slice(bytes)?.f_internal_pin_memory(Device::Cuda(0))?)
}
