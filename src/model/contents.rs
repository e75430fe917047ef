//! What a bundle holds, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::config::ModelConfig;
use super::history::TrainingHistory;
use super::self_check::SelfCheck;
use super::stored::StoredWeights;
use crate::calibration::{Calibration, FeatureStatistics};
use crate::tta::Tta;

/// Everything in the files of a bundle.
#[derive(Clone)]
pub(super) struct Contents {
    pub config: ModelConfig,
    /// The safetensors file.
    pub weights: StoredWeights,
    pub calibration: Option<Calibration>,
    /// What its scorers average; a calibration's is the same.
    pub tta: Tta,
    pub features: Option<Arc<FeatureStatistics>>,
    pub self_check: SelfCheck,
    pub metrics: BTreeMap<String, Value>,
    pub history: Option<TrainingHistory>,
}
