//! A few generated images or embeddings and their logits, with which a model proves on a new machine that it still is
//! what it was.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::features_file::{bytes_of, f32s_of};
use super::input::ModelInput;
use crate::embedding::{EmbeddingScorer, to_unit_length};
use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::network::Scorer;

/// Rows in a check.
const ROWS: usize = 4;
/// Largest difference of a logit on the CPU, as a share of the largest logit or of 1. Kernels differ between processors
/// in the order of their sums.
const TOLERANCE: f32 = 1e-3;
/// The same where the network runs in f16, which keeps 11 bits.
const TOLERANCE_F16: f32 = 0.02;

/// Generated rows and expected logits `[4, C]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfCheck {
    rows: Generated,
    logits: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Generated {
    /// `[4, H, W, 3]`.
    Images(Vec<u8>),
    /// `[4, D]`.
    Embeddings(Vec<f32>),
}

impl SelfCheck {
    /// Runs generated images through `scorer` and keeps what comes out.
    ///
    /// # Errors
    /// Whatever scoring gives; [`Error::Internal`] for logits that are not finite.
    pub fn record(scorer: &Scorer, preprocessing: &Preprocessing) -> Result<Self> {
        let pixels = generate(preprocessing);
        let logits = scorer.logits(&pixels)?;
        Self::expecting(Generated::Images(pixels), logits)
    }

    /// Runs generated embeddings through `scorer` and keeps what comes out.
    ///
    /// # Errors
    /// [`Error::Config`] for logits that are not finite.
    pub fn record_embeddings(scorer: &EmbeddingScorer) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let count = ROWS * scorer.space().dimensions();
        let mut embeddings: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
        embeddings.chunks_exact_mut(scorer.space().dimensions()).for_each(|row| {
            assert!(to_unit_length(row), "drawn numbers are not all 0");
        });
        let logits = scorer.logits(&embeddings);
        Self::expecting(Generated::Embeddings(embeddings), logits)
    }

    fn expecting(rows: Generated, logits: Vec<f32>) -> Result<Self> {
        match logits.iter().all(|logit| logit.is_finite()) {
            true => Ok(Self { rows, logits }),
            false => {
                Err(Error::Config("the model gives logits that are not finite; its weights cannot be used".into()))
            }
        }
    }

    /// Largest difference between the expected logits and what `scorer` gives.
    ///
    /// # Errors
    /// A message with the difference if it is too large.
    pub fn verify(&self, scorer: &Scorer) -> Result<f32, String> {
        let Generated::Images(pixels) = &self.rows else { return Err("a network scores images".into()) };
        let tolerance = if scorer.is_reduced_precision() { TOLERANCE_F16 } else { TOLERANCE };
        self.compare(&scorer.logits(pixels).map_err(|error| error.to_string())?, tolerance)
    }

    /// The same of a head on embeddings.
    ///
    /// # Errors
    /// As [`SelfCheck::verify`].
    pub fn verify_embeddings(&self, scorer: &EmbeddingScorer) -> Result<f32, String> {
        let Generated::Embeddings(embeddings) = &self.rows else { return Err("a head scores embeddings".into()) };
        self.compare(&scorer.logits(embeddings), TOLERANCE)
    }

    fn compare(&self, logits: &[f32], tolerance: f32) -> Result<f32, String> {
        let largest = self.logits.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
        let tolerance = largest * tolerance;
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
            "on this device the logits of the bundle's generated rows differ by {worst} from the expected ones \
             (tolerance {tolerance}); do not trust its scores here, and report the processor"
        ))
    }

    pub(super) fn to_bytes(&self, input: &ModelInput) -> Result<Vec<u8>> {
        let fault = |error: safetensors::SafeTensorError| Error::Internal(format!("writing the self-check: {error}"));
        let logits = bytes_of(&self.logits);
        let (name, dtype, shape) = rows_of(input);
        let rows = match &self.rows {
            Generated::Images(pixels) => pixels.clone(),
            Generated::Embeddings(embeddings) => bytes_of(embeddings),
        };
        let views = [
            (name, TensorView::new(dtype, shape, &rows).map_err(fault)?),
            ("logits", TensorView::new(Dtype::F32, vec![ROWS, self.logits.len() / ROWS], &logits).map_err(fault)?),
        ];
        serialize(views, None).map_err(fault)
    }

    pub(super) fn from_bytes(bytes: &[u8], input: &ModelInput, classes: usize) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let (name, dtype, shape) = rows_of(input);
        let rows = file.tensor(name).map_err(|error| error.to_string())?;
        let logits = file.tensor("logits").map_err(|error| error.to_string())?;
        let logits_fit = logits.dtype() == Dtype::F32 && logits.shape() == [ROWS, classes];
        if (rows.dtype(), rows.shape()) != (dtype, &shape[..]) || !logits_fit {
            return Err(format!("{name} or logits have another shape than the model"));
        }
        let logits = f32s_of(logits.data());
        // An infinite one would make the tolerance infinite, so that everything passes.
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err("the expected logits are not all finite; copy the bundle again".into());
        }
        let rows = match input {
            ModelInput::Images(_) => Generated::Images(rows.data().to_vec()),
            ModelInput::Embeddings(_) => Generated::Embeddings(f32s_of(rows.data())),
        };
        Ok(Self { rows, logits })
    }
}

/// Name, type and shape of the generated rows.
fn rows_of(input: &ModelInput) -> (&'static str, Dtype, Vec<usize>) {
    match input {
        ModelInput::Images(images) => {
            let Preprocessing { height, width, .. } = &images.preprocessing;
            ("images", Dtype::U8, vec![ROWS, *height as usize, *width as usize, 3])
        }
        ModelInput::Embeddings(embeddings) => ("embeddings", Dtype::F32, vec![ROWS, embeddings.dimensions]),
    }
}

const SEED: u64 = 0x0D15_3A11;

/// Smooth random shapes: plain noise would leave most of a network's range unused.
fn generate(preprocessing: &Preprocessing) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let (height, width) = (preprocessing.height as f32, preprocessing.width as f32);
    let mut pixels = Vec::with_capacity(ROWS * preprocessing.image_bytes());
    for _ in 0..ROWS {
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
