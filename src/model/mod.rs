//! The model bundle: a folder that holds everything scoring needs.
//!
//! | file | what |
//! | --- | --- |
//! | `config.json` | what it scores and by what, classes, format version |
//! | `model.safetensors` | weights under the reference's names, or a head's numbers |
//! | `calibration.json` | temperature, thresholds, ECE before and after; absent until calibrated |
//! | `features.safetensors` | what is known of the features of training and calibration rows, and of unknown images; may be absent |
//! | `self_check.safetensors` | generated images or embeddings and their logits |
//! | `metrics.json` | figures measured on held-out rows |
//! | `README.md` | model card |
//! | `training.json`, `training.csv`, `training.svg` | epochs of the training, where this crate trained the model |
//! | `metrics.jsonl` | the same epochs, one a line |
//! | `recipe.json` | the recipe of the training, every option of it |
//! | `SHA256SUMS` | digests of all of them, as `sha256sum --check` reads them |

mod bundle;
mod card;
mod checkpoint;
mod columns;
mod config;
mod contents;
mod embedding_file;
mod features;
mod features_file;
mod hex;
mod history;
mod input;
mod self_check;
mod stored;
mod weights_file;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tch::Device;

#[doc(hidden)]
pub use self::checkpoint::read_checkpoint;
#[doc(hidden)]
pub use self::config::FORMAT_VERSION;
pub use self::config::ModelConfig;
use self::contents::Contents;
#[doc(hidden)]
pub use self::history::json_lines;
pub use self::history::{EpochRecord, TrainingHistory};
#[doc(hidden)]
pub use self::input::MOST_DIMENSIONS;
pub use self::input::{EmbeddingInput, ImageInput, ModelInput};
#[doc(hidden)]
pub use self::self_check::SelfCheck;
use self::stored::StoredWeights;
#[doc(hidden)]
pub use self::weights_file::NamedTensors;
use crate::calibration::{Calibrated, Calibration, CalibrationFeatures, CalibrationOptions};
use crate::device::{kinds_on, on_device};
use crate::embedding::EmbeddingScorer;
use crate::error::{Error, Result};
use crate::metrics::LabelledLogits;
use crate::network::graph::{Graph, HeadNumbers};
use crate::network::{Network, Scorer};
use crate::tta::Tta;

/// A model in memory. It holds no tensors, so threads can share it; each builds its own network from it.
#[derive(Clone)]
pub struct Model {
    contents: Contents,
    digest: String,
    path: PathBuf,
}

impl Model {
    /// A model from trained weights, not yet calibrated and not yet on disk. Its expected outputs are recorded here, on
    /// the CPU.
    ///
    /// # Errors
    /// [`Error::Config`] for an unusable configuration, weights that do not fit the architecture or are not finite.
    #[doc(hidden)]
    pub fn try_new(config: ModelConfig, weights: &NamedTensors, history: Option<TrainingHistory>) -> Result<Self> {
        config.validate()?;
        let images = config.input.images().ok_or_else(|| Error::Internal("a network scores images".into()))?;
        let network = empty_network(images, config.classes.len(), Device::Cpu)?;
        network.weights().load(weights).map_err(Error::Config)?;
        let scorer = Scorer::try_new(network, &images.preprocessing)?;
        let self_check = SelfCheck::record(&scorer, &images.preprocessing)?;
        let weights = weights_file::to_bytes(weights).map_err(Error::Internal)?;
        Ok(Self::new(config, weights, self_check, history))
    }

    /// A model of embeddings, not yet calibrated and not yet on disk; `origin` says in words where it comes from.
    ///
    /// # Errors
    /// [`Error::Config`] for class names that are equal or not as many as the head has.
    #[doc(hidden)]
    pub fn of_embeddings(scorer: &EmbeddingScorer, classes: Vec<String>, origin: String) -> Result<Self> {
        let input = EmbeddingInput { dimensions: scorer.space().dimensions(), head: scorer.head() };
        let input = ModelInput::Embeddings(input);
        let config = ModelConfig { format_version: FORMAT_VERSION, input, classes, origin };
        config.validate()?;
        if config.classes.len() != scorer.space().classes() {
            return Err(Error::Config("the head is one of another number of classes".into()));
        }
        let self_check = SelfCheck::record_embeddings(scorer)?;
        Ok(Self::new(config, embedding_file::to_bytes(scorer)?, self_check, None))
    }

    fn new(config: ModelConfig, weights: Vec<u8>, self_check: SelfCheck, history: Option<TrainingHistory>) -> Self {
        let weights = StoredWeights::Memory(weights.into());
        let metrics = BTreeMap::new();
        let (calibration, features, tta) = (None, None, Tta::None);
        let contents = Contents { config, weights, calibration, tta, features, self_check, metrics, history };
        Self { contents, digest: String::new(), path: PathBuf::new() }
    }

    /// Reads a checkpoint of the reference, of torchvision or of timm: a safetensors file with their names.
    ///
    /// # Errors
    /// [`Error::Model`] if the file cannot be read or lacks weights; the message names them.
    pub fn import(checkpoint: &Path, config: ModelConfig) -> Result<Self> {
        let images = config.input.images().ok_or_else(|| Error::Internal("a checkpoint is a network's".into()))?;
        let weights = read_checkpoint(checkpoint, images.architecture)?;
        Self::try_new(config, &weights, None).map_err(|error| match error {
            Error::Config(message) => Error::model(checkpoint, message),
            other => other,
        })
    }

    /// Reads a bundle, checks every file's digest and that the weights fit and are finite.
    ///
    /// # Errors
    /// [`Error::Model`] for a folder that is no bundle, a missing or altered file, a newer format or unusable weights.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let (contents, digest) = bundle::read(folder.as_ref())?;
        let model = Self { contents, digest, path: folder.as_ref().to_path_buf() };
        // Loading finds weights that are missing, misshapen or not finite, here and not in the middle of a run.
        match model.input() {
            ModelInput::Images(_) => drop(model.scorer(Device::Cpu)?),
            ModelInput::Embeddings(_) => drop(model.embedding_scorer()?),
        }
        Ok(model)
    }

    /// Whether a folder looks like a bundle, whole or not.
    pub fn is_at(folder: impl AsRef<Path>) -> bool {
        bundle::is_at(folder.as_ref())
    }

    /// Finds out whether a bundle could be written to `folder`, before work is spent on one. Makes the folder's parent.
    ///
    /// # Errors
    /// [`Error::Config`] where something is there that must not be replaced, [`Error::Io`] where nothing can be
    /// written.
    pub fn check_place(folder: impl AsRef<Path>, force: bool) -> Result<()> {
        bundle::check_place(folder.as_ref(), force)
    }

    /// Writes the bundle beside `folder` and renames it: it appears whole or not at all. Sets the digest.
    ///
    /// # Errors
    /// [`Error::Config`] if `folder` exists and `force` is not given; [`Error::Io`] if it cannot be written.
    pub fn write(&mut self, folder: impl AsRef<Path>, force: bool) -> Result<()> {
        self.digest = bundle::write(&self.contents, &self.path, folder.as_ref(), force)?;
        self.path = folder.as_ref().to_path_buf();
        Ok(())
    }

    /// Configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.contents.config
    }

    /// What it scores.
    pub fn input(&self) -> &ModelInput {
        &self.contents.config.input
    }

    /// Class names in the order of the logits.
    pub fn classes(&self) -> &[String] {
        &self.contents.config.classes
    }

    /// Numbers of a row's pooled features, those of all stages together.
    pub fn feature_width(&self) -> usize {
        self.input().stages().iter().sum()
    }

    /// Numbers that it gives for a row: logits, and features where they are wanted.
    pub fn values_width(&self, with_features: bool) -> usize {
        self.classes().len() + if with_features { self.feature_width() } else { 0 }
    }

    /// Whether its score needs features besides the logits.
    pub fn needs_features(&self) -> bool {
        self.calibration().is_some_and(|calibration| calibration.score.needs_features())
    }

    /// Temperature and thresholds, once calibrated.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.contents.calibration.as_ref()
    }

    /// Temperature and thresholds.
    ///
    /// # Errors
    /// [`Error::NotCalibrated`] if the model was never calibrated: without thresholds nothing can be flagged.
    pub fn require_calibration(&self) -> Result<&Calibration> {
        self.contents.calibration.as_ref().ok_or_else(|| Error::NotCalibrated { path: self.path.clone() })
    }

    /// What its scorers average.
    pub fn tta(&self) -> Tta {
        self.contents.tta
    }

    /// Makes scorers average from here on as `tta` says. Where that is something new, calibration and feature
    /// statistics, which come from other averages, are forgotten: score its rows and calibrate afterwards.
    ///
    /// # Errors
    /// [`Error::Config`] for mirror images of embeddings.
    pub fn set_tta(&mut self, tta: Tta) -> Result<()> {
        if !tta.is_none() && self.input().images().is_none() {
            return Err(Error::Config("the model scores embeddings, which have no mirror images".into()));
        }
        if tta != self.contents.tta {
            (self.contents.calibration, self.contents.features) = (None, None);
            self.contents.tta = tta;
        }
        Ok(())
    }

    /// Calibrates on held-out rows; `source` says in words where they come from. The bundle on disk stays as it is
    /// until [`Model::write`].
    ///
    /// `features` are those of the rows, in any order and not necessarily of all, and the values that a score which
    /// needs features gives to the rows, in their order.
    ///
    /// # Errors
    /// As [`Calibration::fit`] and [`Model::feature_score`]; [`Error::Config`] for logits of another number of classes,
    /// or averaged in another way than [`Model::tta`].
    pub fn calibrate(
        &mut self,
        rows: &LabelledLogits,
        features: Option<HeldOutFeatures<'_>>,
        options: &CalibrationOptions,
        source: &str,
    ) -> Result<()> {
        if rows.classes() != self.classes().len() {
            let (theirs, ours) = (rows.classes(), self.classes().len());
            return Err(Error::Config(format!("the logits are of {theirs} classes, the model has {ours}")));
        }
        if options.tta != self.tta() {
            let (theirs, ours) = (options.tta, self.tta());
            let message = format!("a calibration for averages `{theirs}`, but the model scores with `{ours}`");
            return Err(Error::Config(message));
        }
        let score = self.feature_score(options.score)?;
        let given = score.as_ref().zip(features.as_ref().and_then(|features| features.scores));
        let Calibrated { calibration, figures } = Calibration::fit(rows, given, options, source)?;
        let fault = |error: serde_json::Error| Error::Internal(format!("figures as JSON: {error}"));
        self.contents.metrics.insert("held_out".into(), serde_json::to_value(figures).map_err(fault)?);
        self.contents.calibration = Some(calibration);
        // Whatever it was read from, it is written as this release writes it.
        self.contents.config.format_version = FORMAT_VERSION;
        if let Some((statistics, features)) = self.contents.features.as_mut().zip(features) {
            Arc::make_mut(statistics).set_calibration(features.rows);
        }
        Ok(())
    }

    /// Figures by name, as in `metrics.json`.
    pub fn metrics(&self) -> &BTreeMap<String, Value> {
        &self.contents.metrics
    }

    /// How it was trained; none for an imported model.
    pub fn history(&self) -> Option<&TrainingHistory> {
        self.contents.history.as_ref()
    }

    /// SHA-256 over the digests of all files, as 64 hexadecimal digits; empty before the bundle was written.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Folder it was read from or written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Generated rows and expected logits.
    pub fn self_check(&self) -> &SelfCheck {
        &self.contents.self_check
    }

    /// Whether both are one model: the same in memory, or equal files.
    pub(crate) fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || (!self.digest.is_empty() && self.digest == other.digest)
    }

    /// A network with this model's weights on `device`, ready to score.
    ///
    /// # Errors
    /// [`Error::DeviceFailed`] for a GPU with too little memory, on a CPU whatever libtorch refuses;
    /// [`Error::Internal`] for a model of embeddings.
    #[doc(hidden)]
    pub fn scorer(&self, device: Device) -> Result<Scorer> {
        let images = self.input().images().ok_or_else(|| Error::Internal("a network scores images".into()))?;
        on_device(device, || {
            let network = |&kind| Ok((self.network(images, device)?, kind));
            let networks = kinds_on(device).iter().map(network).collect::<Result<Vec<_>>>()?;
            Ok(Scorer::with_kinds(networks, &images.preprocessing)?.with_tta(self.tta()))
        })
    }

    fn network(&self, images: &ImageInput, device: Device) -> Result<Network> {
        let network = empty_network(images, self.classes().len(), device)?;
        let loaded = weights_file::load(&self.contents.weights, network.weights());
        loaded.map_err(|error| Error::model(&self.path, error))?;
        Ok(network)
    }

    /// The network's operations, none for a model of embeddings, and its head's numbers, as they are in scoring on a
    /// CPU.
    ///
    /// # Errors
    /// As [`Model::scorer`] and [`Model::embedding_scorer`].
    #[doc(hidden)]
    pub fn graph(&self) -> Result<(Option<Graph>, HeadNumbers)> {
        match self.input() {
            ModelInput::Images(images) => {
                self.network(images, Device::Cpu)?.graph().map(|(graph, head)| (Some(graph), head))
            }
            ModelInput::Embeddings(_) => Ok((None, HeadNumbers::of(&self.embedding_scorer()?))),
        }
    }

    /// The network's weights by name, on the host.
    ///
    /// # Errors
    /// [`Error::Model`] for a file that is none of weights.
    #[doc(hidden)]
    pub fn weights(&self) -> Result<NamedTensors> {
        weights_file::from_bytes(&self.stored_weights()?).map_err(|error| Error::model(&self.path, error))
    }

    /// The head of a model of embeddings.
    ///
    /// # Errors
    /// [`Error::Model`] for numbers that do not fit; [`Error::Internal`] for a model of images.
    #[doc(hidden)]
    pub fn embedding_scorer(&self) -> Result<EmbeddingScorer> {
        let input = self.input().embeddings();
        let input = input.ok_or_else(|| Error::Internal("a head alone scores embeddings".into()))?;
        embedding_file::from_bytes(&self.stored_weights()?, input, self.classes().len())
            .map_err(|error| Error::model(&self.path, error))
    }

    fn stored_weights(&self) -> Result<Cow<'_, [u8]>> {
        self.contents.weights.bytes().map_err(|error| Error::model(&self.path, error))
    }
}

/// Features of the rows that a model is calibrated on.
#[derive(Debug)]
pub struct HeldOutFeatures<'a> {
    /// Features of some rows or of all.
    pub rows: CalibrationFeatures,
    /// The score of each row that the model is calibrated on, where that score needs features.
    pub scores: Option<&'a [f32]>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("config", &self.contents.config)
            .field("digest", &self.digest)
            .field("path", &self.path)
            .field("calibrated", &self.contents.calibration.is_some())
            .finish_non_exhaustive()
    }
}

fn empty_network(images: &ImageInput, classes: usize, device: Device) -> Result<Network> {
    Network::zeroed(images.architecture, images.loss.head(), classes, device)
}
