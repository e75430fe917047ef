//! Weights below the head that a training begins with.

use std::path::Path;

use dismax::embedding::EmbeddingScorer;
use dismax::error::{Error, Result};
use dismax::image::Preprocessing;
use dismax::model::{ImageInput, Model, NamedTensors, read_checkpoint};
use dismax::network::{Architecture, HeadKind, Network, head_tensors};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

/// The network of the bundle that a training begins with; none where `init` is a file of weights, which does not say.
///
/// # Errors
/// [`Error::Model`] for a damaged bundle, and for a model of embeddings, which has no network.
pub fn architecture_of(init: &Path) -> Result<Option<Architecture>> {
    if !init.is_dir() {
        return Ok(None);
    }
    let model = Model::read(init)?;
    Ok(Some(images_of(&model, init)?.architecture))
}

fn images_of<'a>(model: &'a Model, path: &Path) -> Result<&'a ImageInput> {
    let missing = || Error::model(path, "a model of embeddings, which has no network to begin with");
    model.input().images().ok_or_else(missing)
}

/// Weights of a network without its head.
#[derive(Debug)]
pub(super) struct Pretrained {
    weights: NamedTensors,
    /// How names of the head begin.
    head: String,
    /// What the network was trained with, where that is known.
    pub preprocessing: Option<Preprocessing>,
    /// SHA-256 over names and values, as hexadecimal digits.
    pub digest: String,
    /// The file's or folder's name.
    pub name: String,
}

impl Pretrained {
    /// Reads a bundle, or a safetensors file with the names of the reference, of torchvision or of timm. ImageNet's
    /// networks are taken to have its channel statistics.
    ///
    /// # Errors
    /// [`Error::Model`] for what is neither, and for weights of another architecture: what does not fit is named with
    /// its shape beside the expected one.
    pub fn read(path: &Path, architecture: Architecture) -> Result<Self> {
        let (weights, preprocessing) = if path.is_dir() {
            let model = Model::read(path)?;
            let images = images_of(&model, path)?;
            if images.architecture != architecture {
                let message = format!("a {}, and the network to train is a {architecture}", images.architecture);
                return Err(Error::model(path, message));
            }
            (model.weights()?, Some(images.preprocessing.clone()))
        } else {
            let imagenet = architecture.is_for_photographs().then(Preprocessing::imagenet);
            (read_checkpoint(path, architecture)?, imagenet)
        };
        let head = format!("{}.", architecture.head_name());
        let weights: NamedTensors = weights.into_iter().filter(|(name, _)| !name.starts_with(&head)).collect();
        let digest = digest(&weights)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let read = Self { weights, head, preprocessing, digest, name };
        // Found out before any image is read.
        let network = Network::zeroed(architecture, HeadKind::Softmax, 2, Device::Cpu)?;
        match read.load_into(&network) {
            Err(Error::Config(message)) => {
                Err(Error::model(path, format!("not the weights of a {architecture}: {message}")))
            }
            other => other.map(|()| read),
        }
    }

    /// Replaces all weights of `network` but the head's.
    ///
    /// # Errors
    /// [`Error::Config`] with what does not fit.
    pub fn load_into(&self, network: &Network) -> Result<()> {
        let own = network.weights().iter().filter(|weight| weight.name.starts_with(&self.head));
        let own = own.map(|weight| Ok((weight.name.clone(), weight.tensor.f_detach_copy()?)));
        let mut weights = own.collect::<Result<NamedTensors>>()?;
        weights.extend(self.weights.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())));
        network.weights().load(&weights).map_err(Error::Config)
    }

    /// The whole network's weights, with a linear head of zeros.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub fn with_empty_head(&self, features: usize, classes: usize) -> Result<NamedTensors> {
        let zeros = |shape: &[i64]| Tensor::f_zeros(shape, (Kind::Float, Device::Cpu));
        let (features, classes) = (features as i64, classes as i64);
        Ok(self.with_head([("weight", zeros(&[classes, features])?), ("bias", zeros(&[classes])?)]))
    }

    /// The whole network's weights, with a head that was fitted to its features.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub fn with_fitted_head(&self, scorer: &EmbeddingScorer) -> Result<NamedTensors> {
        Ok(self.with_head(head_tensors(scorer)?))
    }

    fn with_head(&self, head: impl IntoIterator<Item = (&'static str, Tensor)>) -> NamedTensors {
        let below = self.weights.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        below.chain(head.into_iter().map(|(name, tensor)| (format!("{}{name}", self.head), tensor))).collect()
    }
}

fn digest(weights: &NamedTensors) -> Result<String> {
    let mut names: Vec<&String> = weights.keys().collect();
    names.sort_unstable();
    let mut digest = Sha256::new();
    for name in names {
        digest.update(name.as_bytes());
        let values = Vec::<f32>::try_from(&weights[name].f_contiguous()?.f_view([-1])?)?;
        digest.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
