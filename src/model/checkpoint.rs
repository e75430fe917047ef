//! Weights of a network that others trained, under the names that this crate gives them.

use std::path::Path;

use super::weights_file::{self, NamedTensors};
use crate::error::{Error, Result};
use crate::network::Architecture;

/// What the reference keeps in its head besides weights. Calibration replaces it.
const BOOKKEEPING: [&str; 3] = ["temperature", "validationset_available", "precomputed_thresholds"];

/// How files begin that PyTorch writes with `torch.save`: a ZIP archive of pickles, or a pickle.
const PICKLES: [&[u8]; 2] = [b"PK", b"\x80"];

/// Reads a safetensors file with the names of the reference, of torchvision or of timm. Prefixes that all names share,
/// as wrappers put them there, are left out. Whether the weights fit is not looked at.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Model`] for another kind of file.
#[doc(hidden)]
pub fn read_checkpoint(path: &Path, architecture: Architecture) -> Result<NamedTensors> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let tensors = weights_file::from_bytes(&bytes).map_err(|error| {
        // Only of what is no safetensors file: that begins with a length, which may be any bytes.
        let message = match PICKLES.iter().any(|start| bytes.starts_with(start)) {
            true => "a PyTorch checkpoint, which can run code and is not read; in Python save the weights with \
                     safetensors.torch.save_file(model.state_dict(), \"weights.safetensors\")"
                .to_owned(),
            false => format!("not a safetensors file that can be read: {error}"),
        };
        Error::model(path, message)
    })?;
    let head = architecture.head_name();
    let tensors = without_prefixes(tensors).into_iter();
    let tensors = tensors.filter(|(name, _)| !BOOKKEEPING.iter().any(|last| *name == format!("{head}.{last}")));
    // The reference's SoftMax calls its matrix so.
    let renamed = tensors.map(|(name, value)| match name == format!("{head}.weights") {
        true => (format!("{head}.weight"), value),
        false => (name, value),
    });
    Ok(renamed.collect())
}

/// The tensors under their names without the parts in front that all of them share: `module.` of PyTorch's
/// `DataParallel`, `_orig_mod.` of `torch.compile`, what Lightning and others put there. A network's own names share
/// none.
fn without_prefixes(mut tensors: NamedTensors) -> NamedTensors {
    let shared = |tensors: &NamedTensors| {
        let (first, _) = tensors.keys().next()?.split_once('.')?;
        let prefix = format!("{first}.");
        tensors.keys().all(|name| name.starts_with(&prefix)).then_some(prefix)
    };
    while let Some(prefix) = shared(&tensors).filter(|_| tensors.len() > 1) {
        tensors = tensors.into_iter().map(|(name, value)| (name[prefix.len()..].to_owned(), value)).collect();
    }
    tensors
}
