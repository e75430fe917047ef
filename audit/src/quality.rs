//! What is odd in an image by itself: black, white, of one tone; and its proportions.

use super::collect::Look;
use super::kind::Kind;

/// Mean luma below which an image is nearly black.
const BLACK: f32 = 0.03;
/// Mean luma above which it is nearly white.
const WHITE: f32 = 0.97;
/// Standard deviation of the luma below which it is nearly of one tone.
const UNIFORM: f32 = 0.02;

/// Longer side divided by the shorter.
pub(super) fn aspect(width: u32, height: u32) -> f64 {
    f64::from(width.max(height)) / f64::from(width.min(height).max(1))
}

/// Whether an image is black, white or of one tone, and the measure that says so.
pub(super) fn tone(look: &Look) -> Option<(Kind, f64)> {
    if look.luma_mean < BLACK {
        Some((Kind::NearBlack, look.luma_mean.into()))
    } else if look.luma_mean > WHITE {
        Some((Kind::NearWhite, look.luma_mean.into()))
    } else if look.luma_deviation < UNIFORM {
        Some((Kind::NearUniform, look.luma_deviation.into()))
    } else {
        None
    }
}

/// Whether there is no picture to see: an image that is black, white or of one tone.
pub(super) fn is_blank(look: &Look) -> bool {
    tone(look).is_some()
}
