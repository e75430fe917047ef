//! Averages over an image and its mirror image.

use tch::Tensor;

use crate::error::Result;
use crate::tta::Tta;

/// What `network` gives for `images [B, 3, H, W]`, averaged as `tta` says.
pub(super) fn averaged(images: &Tensor, tta: Tta, network: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let values = network(images)?;
    match tta {
        Tta::None => Ok(values),
        Tta::Flip => Ok(values.f_add(&network(&images.f_flip([3i64])?)?)?.f_mul_scalar(0.5)?),
    }
}
