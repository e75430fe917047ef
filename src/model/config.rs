//! `config.json`: what a model is, apart from its numbers.

use serde::{Deserialize, Serialize};

use super::input::{EmbeddingInput, ImageInput, ModelInput};
use crate::embedding::EmbeddingHead;
use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::loss::Loss;
use crate::network::Architecture;

/// Version of the bundle's layout that this crate writes. It reads all from 1 on: in version 2 preprocessing may turn
/// and reduce pictures, in version 3 the score may need features, in version 4 a model may score embeddings, and there
/// may be examples of unknown images, in version 5 scores may be mirror averages, of which releases before know
/// nothing.
pub const FORMAT_VERSION: u32 = 5;

/// Contents of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ConfigFile", into = "ConfigFile")]
pub struct ModelConfig {
    /// Version of the bundle's layout.
    pub format_version: u32,
    /// What it scores, and by which network.
    pub input: ModelInput,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// Where the weights come from, in words.
    pub origin: String,
}

impl ModelConfig {
    /// # Errors
    /// [`Error::Config`] for what no model can be: fewer than two classes, equal names, unusable preprocessing.
    pub fn validate(&self) -> Result<()> {
        if self.classes.len() < 2 {
            return Err(Error::Config(format!("{} classes; a model needs at least two", self.classes.len())));
        }
        let mut names: Vec<&str> = self.classes.iter().map(String::as_str).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Config(format!("two classes are called {:?}; names must differ", pair[0])));
        }
        self.input.validate()
    }
}

/// The file's keys: those of a model of images, or those of a model of embeddings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    format_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architecture: Option<Architecture>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss: Option<Loss>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    embedding: Option<EmbeddingKeys>,
    classes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preprocessing: Option<Preprocessing>,
    origin: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingKeys {
    dimensions: usize,
    head: EmbeddingHead,
}

impl From<ModelConfig> for ConfigFile {
    fn from(config: ModelConfig) -> Self {
        let ModelConfig { format_version, input, classes, origin } = config;
        let (mut architecture, mut loss, mut preprocessing, mut embedding) = (None, None, None, None);
        match input {
            ModelInput::Images(images) => {
                (architecture, loss) = (Some(images.architecture), Some(images.loss));
                preprocessing = Some(images.preprocessing);
            }
            ModelInput::Embeddings(EmbeddingInput { dimensions, head }) => {
                embedding = Some(EmbeddingKeys { dimensions, head });
            }
        }
        Self { format_version, architecture, loss, embedding, classes, preprocessing, origin }
    }
}

impl TryFrom<ConfigFile> for ModelConfig {
    type Error = String;

    fn try_from(file: ConfigFile) -> Result<Self, String> {
        let ConfigFile { format_version, architecture, loss, embedding, classes, preprocessing, origin } = file;
        let input = match (architecture, loss, preprocessing, embedding) {
            (Some(architecture), Some(loss), Some(preprocessing), None) => {
                ModelInput::Images(ImageInput { architecture, loss, preprocessing })
            }
            (None, None, None, Some(EmbeddingKeys { dimensions, head })) => {
                ModelInput::Embeddings(EmbeddingInput { dimensions, head })
            }
            _ => {
                return Err(
                    "it has either `embedding`, or `architecture`, `loss` and `preprocessing`, all three".into()
                );
            }
        };
        Ok(Self { format_version, input, classes, origin })
    }
}
