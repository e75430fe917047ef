//! What the two training loops have in common: what they are given, what they give back.

use std::collections::HashMap;
use std::path::Path;

use dismax::error::{Error, Result};
use dismax::model::EpochRecord;
use dismax::network::Network;
use dismax::run::Progress;
use tch::{Device, Tensor};

use super::checkpoint::Checkpoint;
use super::data::{Examples, LabelledImages};
use super::error::TrainError;
use super::pretrained::Pretrained;
use super::snapshot::Snapshot;
use super::whitening::Whitening;

/// What a training works on, besides its options.
pub(super) struct Inputs<'a> {
    /// The rows to train on.
    pub(super) examples: &'a dyn Examples,
    /// The rows to measure on after every epoch; they are never learnt from.
    pub(super) held_out: &'a LabelledImages,
    /// What the weights below the head begin with; drawn at random without.
    pub(super) initial: Option<&'a Pretrained>,
    /// What the first convolution begins with; drawn at random without.
    pub(super) whitening: Option<Whitening>,
    /// The rows that the best epoch is chosen by; none where the last one is kept.
    pub(super) selection: Option<&'a LabelledImages>,
    /// How much the rows of each class count; none where all count the same.
    pub(super) class_weights: Option<Vec<f32>>,
    pub(super) device: Device,
    /// Where the checkpoint is kept.
    pub(super) checkpoint: &'a Path,
    /// Where the figures of the epochs are kept.
    pub(super) metrics: &'a Path,
}

impl Inputs<'_> {
    /// Replaces the random weights of a new network where there are others to begin with.
    pub(super) fn begin(&self, network: &Network) -> Result<()> {
        if let Some(initial) = self.initial {
            initial.load_into(network)?;
        }
        self.whitening.as_ref().map_or(Ok(()), |whitening| whitening.load_into(network))
    }
}

/// Trained weights by name, on the host.
#[derive(Debug)]
pub(super) struct Trained {
    /// Parameters and running statistics under the reference's names.
    pub(super) weights: HashMap<String, Tensor>,
    /// All epochs.
    pub(super) history: Vec<EpochRecord>,
}

/// Parameters `[P]`, momentum `[P]` and running statistics `[Q]` of a checkpoint, whose numbers must be `counts`.
///
/// # Errors
/// [`TrainError::Checkpoint`] if they are of another network.
pub(super) fn read_checkpoint(checkpoint: &Checkpoint, counts: [usize; 2], path: &Path) -> Result<[Tensor; 3]> {
    let [parameters, buffers] = counts;
    let found = [checkpoint.parameters.len(), checkpoint.momentum.len(), checkpoint.buffers.len()];
    let fits = |snapshot: &Snapshot| (snapshot.parameters.len(), snapshot.buffers.len()) == (parameters, buffers);
    if found != [parameters, parameters, buffers] || !checkpoint.best.iter().chain(&checkpoint.average).all(fits) {
        let (path, reason) = (path.to_path_buf(), "it belongs to another network".into());
        return Err(TrainError::Checkpoint { path, reason }.into());
    }
    Ok([
        Tensor::f_from_slice(&checkpoint.parameters)?,
        Tensor::f_from_slice(&checkpoint.momentum)?,
        Tensor::f_from_slice(&checkpoint.buffers)?,
    ])
}

/// Progress of a training in rows, over all epochs.
pub(super) fn progress(rows: usize, of: usize) -> Progress {
    Progress { task: "training", rows: rows as u64, of: Some(of as u64), failed: 0 }
}

pub(super) fn loader_gone() -> Error {
    Error::Internal("the training loader ended unexpectedly".into())
}
