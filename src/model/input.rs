//! What a model scores: images by a network, or embeddings by a head alone.

use std::fmt;

use crate::embedding::EmbeddingHead;
use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::loss::Loss;
use crate::network::Architecture;

/// Most numbers of an embedding. Their covariance takes 8 bytes for each pair, 128 MiB, and its directions some
/// minutes.
pub const MOST_DIMENSIONS: usize = 4096;

/// What a model scores, and by what.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelInput {
    /// Images, by a network.
    Images(ImageInput),
    /// Embeddings that another network made, by a head alone.
    Embeddings(EmbeddingInput),
}

/// A network that scores images.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageInput {
    /// Network.
    pub architecture: Architecture,
    /// Loss that it was trained with; decides the head.
    pub loss: Loss,
    /// From decoded pixels to the network's input.
    pub preprocessing: Preprocessing,
}

/// A head that scores embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingInput {
    /// Numbers of an embedding.
    pub dimensions: usize,
    /// What makes logits of them.
    pub head: EmbeddingHead,
}

impl ModelInput {
    /// The network that scores images; none where the model scores embeddings.
    pub fn images(&self) -> Option<&ImageInput> {
        match self {
            Self::Images(images) => Some(images),
            Self::Embeddings(_) => None,
        }
    }

    /// The head that scores embeddings; none where the model scores images.
    pub fn embeddings(&self) -> Option<&EmbeddingInput> {
        match self {
            Self::Images(_) => None,
            Self::Embeddings(embeddings) => Some(embeddings),
        }
    }

    /// Lengths of the parts of a row's features: the network's stages, or the embedding as a whole. The last part is
    /// what the head sees.
    pub fn stages(&self) -> &[usize] {
        match self {
            Self::Images(images) => images.architecture.stages(),
            Self::Embeddings(embeddings) => std::slice::from_ref(&embeddings.dimensions),
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        match self {
            Self::Images(images) => images.validate(),
            Self::Embeddings(EmbeddingInput { dimensions: 1..=MOST_DIMENSIONS, .. }) => Ok(()),
            Self::Embeddings(EmbeddingInput { dimensions, .. }) => {
                Err(Error::Config(format!("embeddings of {dimensions} numbers; they have 1 to {MOST_DIMENSIONS}")))
            }
        }
    }
}

impl ImageInput {
    fn validate(&self) -> Result<()> {
        self.preprocessing.validate()?;
        let (height, width) = (self.preprocessing.height, self.preprocessing.width);
        let smallest = self.architecture.smallest_image();
        if height < smallest || width < smallest {
            return Err(Error::Config(format!(
                "{} needs images of at least {smallest}x{smallest} pixels, not {height}x{width}",
                self.architecture
            )));
        }
        Ok(())
    }
}

impl fmt::Display for ModelInput {
    /// `resnet20 with dismax`, or `dismax on embeddings of 768 numbers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images(images) => write!(f, "{} with {}", images.architecture, images.loss),
            Self::Embeddings(embeddings) => {
                write!(f, "{} on embeddings of {} numbers", embeddings.head, embeddings.dimensions)
            }
        }
    }
}
