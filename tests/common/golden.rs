//! Reads `tests/golden/{golden,imagenet}.safetensors`, `golden.json` and `training.json`. A missing entry is a broken
//! test, so it panics with the entry's name.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

static TENSORS: LazyLock<Vec<u8>> = LazyLock::new(|| std::fs::read(path("golden.safetensors")).expect("readable"));
static IMAGENET: LazyLock<Vec<u8>> = LazyLock::new(|| std::fs::read(path("imagenet.safetensors")).expect("readable"));
static JSON: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let read = |file| serde_json::from_slice(&std::fs::read(path(file)).expect("readable")).expect("the file is JSON");
    ["golden.json", "training.json"].map(read).into()
});

/// A file under `tests/golden`.
pub fn path(file: &str) -> PathBuf {
    // Tests of other packages use this file as well.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("tests/golden"));
    folders.filter(|folder| folder.is_dir()).map(|folder| folder.join(file)).next().expect("tests/golden is there")
}

fn bytes(file: &[u8], name: &str, dtype: Dtype) -> (Vec<usize>, Vec<u8>) {
    let tensors = SafeTensors::deserialize(file).expect("an intact file");
    let view = tensors.tensor(name).unwrap_or_else(|error| panic!("tensor {name}: {error}"));
    assert_eq!(view.dtype(), dtype, "tensor {name}");
    (view.shape().to_vec(), view.data().to_vec())
}

/// Shape and row-major values of a float32 tensor.
pub fn f32s(name: &str) -> (Vec<usize>, Vec<f32>) {
    f32s_of(&TENSORS, name)
}

/// The same of what torchvision's networks compute.
pub fn imagenet(name: &str) -> (Vec<usize>, Vec<f32>) {
    f32s_of(&IMAGENET, name)
}

fn f32s_of(file: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let (shape, data) = bytes(file, name, Dtype::F32);
    (shape, data.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect())
}

/// Shape and row-major values of an int64 tensor.
pub fn i64s(name: &str) -> (Vec<usize>, Vec<i64>) {
    let (shape, data) = bytes(&TENSORS, name, Dtype::I64);
    (shape, data.as_chunks().0.iter().map(|raw| i64::from_le_bytes(*raw)).collect())
}

/// An entry of `golden.json` or `training.json` by its top-level name, for example `net.resnet34.state_dict`.
pub fn json(name: &str) -> &'static Value {
    JSON.iter().find_map(|file| file.get(name)).unwrap_or_else(|| panic!("golden.json has no {name}"))
}

/// A number of `golden.json`.
pub fn f64(name: &str) -> f64 {
    json(name).as_f64().unwrap_or_else(|| panic!("golden.json: {name} is no number"))
}

/// A list of numbers of `golden.json`.
pub fn f64s(name: &str) -> Vec<f64> {
    let list = json(name).as_array().unwrap_or_else(|| panic!("golden.json: {name} is no list"));
    list.iter().map(|value| value.as_f64().unwrap_or_else(|| panic!("golden.json: {name}: {value}"))).collect()
}

/// Fails with `what` unless both numbers lie within `tolerance`.
#[track_caller]
pub fn assert_close(what: &str, got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() <= tolerance, "{what}: got {got}, expected {expected} within {tolerance}");
}
