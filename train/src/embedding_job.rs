//! What a caller asks of a fit of embeddings.

use std::path::PathBuf;

use dismax::calibration::CalibrationOptions;
use dismax::dataset::OnBadFile;
use dismax::embedding::EmbeddingHead;

use super::job::HeldOut;

/// What to fit a head on, and where the bundle goes.
#[derive(Debug, Clone)]
pub struct EmbeddingJob {
    /// Files, folders or patterns with labelled embeddings.
    pub inputs: Vec<String>,
    /// Folder of the bundle.
    pub out: PathBuf,
    /// Embedding column. `None`: the only column that fits.
    pub embedding: Option<String>,
    /// Label column. `None`: the column with a usual name.
    pub label: Option<String>,
    /// Held-out rows; of a fraction at most 20,000.
    pub held_out: HeldOut,
    /// What makes logits of whitened embeddings.
    pub head: EmbeddingHead,
    /// How to calibrate afterwards.
    pub calibration: CalibrationOptions,
    /// Chooses the held-out rows.
    pub seed: u64,
    /// Whether to replace an existing bundle.
    pub force: bool,
    /// What becomes of damaged files.
    pub on_bad_file: OnBadFile,
}
