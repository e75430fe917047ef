//! Bundles on disk, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dismax::model::Model;

use super::models;

/// A calibrated model on disk.
pub fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model");
    models::calibrated().write(&path, false).expect("written");
    (folder, path)
}

/// Why a bundle is not read.
pub fn refusal(path: &Path) -> String {
    Model::read(path).expect_err("a refusal").to_string()
}

/// Makes the digests fit again after a file was changed on purpose.
pub fn sign_again(path: &Path) {
    let names = fs::read_to_string(path.join("SHA256SUMS")).expect("digests");
    let names: Vec<&str> = names.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let output = Command::new("sha256sum").args(&names).current_dir(path).output().expect("sha256sum runs");
    fs::write(path.join("SHA256SUMS"), output.stdout).expect("written");
}

/// Replaces the first `from` in a file, and signs the bundle again.
pub fn edit(path: &Path, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(path.join(file)).expect("text");
    assert!(text.contains(from), "{file} lacks {from}");
    fs::write(path.join(file), text.replacen(from, to, 1)).expect("written");
    sign_again(path);
}
