//! A model's folder of which one file is arbitrary, with a digest that fits it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dismax::Model;
use sha2::{Digest, Sha256};

use crate::file::in_folder;

/// Files that a model of embeddings reads. Those of a network differ in `model.safetensors` alone.
const FILES: [(&str, &[u8]); 6] = [
    ("calibration.json", include_bytes!("../model/calibration.json")),
    ("config.json", include_bytes!("../model/config.json")),
    ("features.safetensors", include_bytes!("../model/features.safetensors")),
    ("metrics.json", include_bytes!("../model/metrics.json")),
    ("model.safetensors", include_bytes!("../model/model.safetensors")),
    ("self_check.safetensors", include_bytes!("../model/self_check.safetensors")),
];

/// The first byte says which file the others are.
pub fn run(bytes: &[u8]) -> bool {
    let Some((&which, bytes)) = bytes.split_first() else { return false };
    let mut files: BTreeMap<&str, &[u8]> = FILES.into();
    files.insert(FILES[usize::from(which) % FILES.len()].0, bytes);
    in_folder(|folder| {
        write(folder, &files);
        let Ok(model) = Model::read(folder) else { return false };
        let scorer = model.embedding_scorer().expect("reading tries it");
        let _ = model.self_check().verify_embeddings(&scorer);
        model.require_calibration().is_ok()
    })
}

fn write(folder: &Path, files: &BTreeMap<&str, &[u8]>) {
    let mut listing = String::new();
    for (name, bytes) in files {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        listing += &format!("{digest}  {name}\n");
        fs::write(folder.join(name), bytes).expect("written");
    }
    fs::write(folder.join("SHA256SUMS"), listing).expect("written");
}
