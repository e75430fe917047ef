//! Small models whose weights are random: enough for everything but accuracy.

use std::collections::HashMap;

use dismax::calibration::CalibrationOptions;
use dismax::image::Preprocessing;
use dismax::loss::Loss;
use dismax::metrics::LabelledLogits;
use dismax::model::{FORMAT_VERSION, ImageInput, Model, ModelConfig, ModelInput, NamedTensors};
use dismax::network::{Architecture, Network};
use tch::{Device, Tensor};

/// ResNet-20 for images of 8x8 pixels and three classes.
pub fn config() -> ModelConfig {
    ModelConfig {
        format_version: FORMAT_VERSION,
        input: input(Architecture::Resnet20),
        classes: ["cat", "dog", "ship"].map(String::from).to_vec(),
        origin: "random weights".into(),
    }
}

/// Images of 8x8 pixels, scored by this network.
pub fn input(architecture: Architecture) -> ModelInput {
    ModelInput::Images(ImageInput { architecture, loss: Loss::Dismax, preprocessing: Preprocessing::new(8, 8) })
}

/// Weights that the seed decides.
pub fn weights(seed: u64) -> NamedTensors {
    let network =
        Network::try_new(Architecture::Resnet20, Loss::Dismax.head(), 3, Device::Cpu, seed).expect("a network");
    let named: HashMap<String, Tensor> =
        network.weights().iter().map(|weight| (weight.name.clone(), weight.tensor.detach().copy())).collect();
    named
}

/// A model without calibration, not on disk.
pub fn uncalibrated() -> Model {
    Model::try_new(config(), &weights(7), None).expect("a model")
}

/// The same, calibrated on made-up logits.
pub fn calibrated() -> Model {
    calibrated_from(7)
}

/// A model with the weights of another seed, calibrated on the same logits.
pub fn calibrated_from(seed: u64) -> Model {
    let mut model = Model::try_new(config(), &weights(seed), None).expect("a model");
    let labels: Vec<i64> = (0..100).map(|row| row % 3).collect();
    // The label's logit is the largest in four rows of five.
    let logit = |row: i64, class: i64| {
        let favoured = if row % 5 == 0 { (row + 1) % 3 } else { row % 3 };
        -1.0 - (row * 37 % 101) as f32 / 50.0 + if class == favoured { 1.0 } else { 0.0 }
    };
    let logits: Vec<f32> = (0..100).flat_map(|row| (0..3).map(move |class| logit(row, class))).collect();
    let rows = LabelledLogits::try_new(&logits, 3, &labels).expect("logits");
    model.calibrate(&rows, None, &CalibrationOptions::default(), "made-up rows").expect("calibration");
    model
}
