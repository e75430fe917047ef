//! A few generated images and their logits, with which a model proves on a new machine that it still is what it was.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::network::Scorer;

/// Images in a check.
const IMAGES: usize = 4;
/// Largest difference of a logit on the CPU, as a share of the largest logit or of 1. Kernels differ between processors
/// in the order of their sums.
const TOLERANCE: f32 = 1e-3;
/// The same where the network runs in f16, which keeps 11 bits.
const TOLERANCE_F16: f32 = 0.02;

/// Input images `[4, H, W, 3]` u8 and expected logits `[4, C]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfCheck {
    pixels: Vec<u8>,
    logits: Vec<f32>,
}

impl SelfCheck {
    /// Runs generated images through `scorer` and keeps what comes out.
    ///
    /// # Errors
    /// Whatever scoring gives; [`Error::Internal`] for logits that are not finite.
    pub fn record(scorer: &Scorer, preprocessing: &Preprocessing) -> Result<Self> {
        let pixels = generate(preprocessing);
        let logits = scorer.logits(&pixels)?;
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::Config(
                "the network gives logits that are not finite; its weights cannot be used".into(),
            ));
        }
        Ok(Self { pixels, logits })
    }

    /// Largest difference between the expected logits and what `scorer` gives.
    ///
    /// # Errors
    /// A message with the difference if it is too large.
    pub fn verify(&self, scorer: &Scorer) -> Result<f32, String> {
        let largest = self.logits.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
        let tolerance = largest * if scorer.is_reduced_precision() { TOLERANCE_F16 } else { TOLERANCE };
        let logits = scorer.logits(&self.pixels).map_err(|error| error.to_string())?;
        if logits.len() != self.logits.len() {
            return Err(format!("{} logits instead of {}", logits.len(), self.logits.len()));
        }
        let worst = logits.iter().zip(&self.logits).map(|(a, b)| (a - b).abs()).fold(0.0, |worst: f32, difference| {
            // A NaN must not pass as small.
            if difference.is_nan() { f32::INFINITY } else { worst.max(difference) }
        });
        if worst <= tolerance {
            return Ok(worst);
        }
        Err(format!(
            "on this device the logits of the bundle's generated images differ by {worst} from the expected ones \
             (tolerance {tolerance}); do not trust its scores here and report the processor and libtorch version"
        ))
    }

    pub(super) fn to_bytes(&self, preprocessing: &Preprocessing) -> Result<Vec<u8>> {
        let fault = |error: safetensors::SafeTensorError| Error::Internal(format!("writing the self-check: {error}"));
        let logits: Vec<u8> = self.logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        let shape = vec![IMAGES, preprocessing.height as usize, preprocessing.width as usize, 3];
        let views = [
            ("images", TensorView::new(Dtype::U8, shape, &self.pixels).map_err(fault)?),
            ("logits", TensorView::new(Dtype::F32, vec![IMAGES, self.logits.len() / IMAGES], &logits).map_err(fault)?),
        ];
        serialize(views, None).map_err(fault)
    }

    pub(super) fn from_bytes(bytes: &[u8], preprocessing: &Preprocessing, classes: usize) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let images = file.tensor("images").map_err(|error| error.to_string())?;
        let logits = file.tensor("logits").map_err(|error| error.to_string())?;
        let (values, _) = logits.data().as_chunks::<4>();
        let logits: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        if images.data().len() != IMAGES * preprocessing.image_bytes() || logits.len() != IMAGES * classes {
            return Err("images or logits have another shape than the model".into());
        }
        // An infinite one would make the tolerance infinite, so that everything passes.
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err("the expected logits are not all finite; copy the bundle again".into());
        }
        Ok(Self { pixels: images.data().to_vec(), logits })
    }
}

/// Smooth random shapes: plain noise would leave most of a network's range unused.
fn generate(preprocessing: &Preprocessing) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(0x0D15_3A11);
    let (height, width) = (preprocessing.height as f32, preprocessing.width as f32);
    let mut pixels = Vec::with_capacity(IMAGES * preprocessing.image_bytes());
    for _ in 0..IMAGES {
        let waves: Vec<[f32; 4]> = (0..9).map(|_| std::array::from_fn(|_| rng.random_range(-1.0..1.0f32))).collect();
        for y in 0..preprocessing.height {
            for x in 0..preprocessing.width {
                let (v, u) = (y as f32 / height, x as f32 / width);
                for channel in 0..3 {
                    let wave = |[a, b, c, d]: &[f32; 4]| (6.0 * (a * u + b * v) + 3.0 * c).sin() * d;
                    let sum: f32 = waves[channel * 3..channel * 3 + 3].iter().map(wave).sum();
                    pixels.push((127.5 + 80.0 * sum).clamp(0.0, 255.0) as u8);
                }
            }
        }
    }
    pixels
}
