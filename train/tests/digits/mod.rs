//! Short trainings on the handwritten digits, for tests.
#![allow(dead_code, reason = "every test file compiles this module and uses its own part of it")]

use std::fs;
use std::path::Path;

use dismax::cancel::Cancel;
use dismax::loss::Loss;
use dismax::model::Model;
use dismax::network::Architecture;
use dismax::run::Run;
use dismax::{Device, Error};
use dismax_train::{Flip, Recipe, Schedule, TrainJob, train};

pub const TRAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits/train.parquet");
pub const VALIDATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits/validation.parquet");

pub fn job(out: &Path, loss: Loss, epochs: usize) -> TrainJob {
    TrainJob {
        recipe: Recipe {
            epochs: Some(epochs),
            schedule: Some(Schedule::OneCycle),
            flip: Flip::None,
            workers: Some(2),
            ..Recipe::new(Architecture::Resnet20, loss)
        },
        device: Device::Cpu,
        ..TrainJob::new([TRAIN], out)
    }
}

pub fn run(job: &TrainJob) -> Result<Model, Error> {
    train(job, &mut Run { cancel: Cancel::default(), progress: &mut |_| {} }, &mut |_| {})
}

pub fn weights(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("model.safetensors")).expect("weights")
}
