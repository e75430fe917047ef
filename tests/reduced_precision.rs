//! The 16-bit networks of GPUs, computed on the CPU: how far their scores are from those of f32.

use std::path::{Path, PathBuf};

use dismax::Model;
use dismax::dataset::Dataset;
use dismax::image::ReusableResizer;
use dismax::network::{Network, Scorer};
use tch::{Device, Kind};

fn model() -> Model {
    Model::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar10-resnet20")).expect("the repository's model")
}

/// Preprocessed pixels of `rows` images: of CIFAR-10's test set where `DISMAX_CIFAR10_TEST` names it, else drawn.
fn pixels(model: &Model, rows: usize) -> Vec<u8> {
    let preprocessing = &model.config().preprocessing;
    let size = preprocessing.image_bytes();
    let Some(file) = std::env::var_os("DISMAX_CIFAR10_TEST").map(PathBuf::from) else {
        println!("drawn images: DISMAX_CIFAR10_TEST is not set");
        let value =
            |row: usize, at: usize| (at / 3 % 32 * (row % 13 + 1) + at / 96 * (row % 7 + at % 3) + row * 29) % 256;
        return (0..rows).flat_map(|row| (0..size).map(move |at| value(row, at) as u8)).collect();
    };
    let dataset = Dataset::open(&[file.display().to_string()]).expect("the test set");
    let column = dataset.image_column(None).expect("its images");
    let (mut pixels, mut resizer) = (vec![0; rows * size], ReusableResizer::default());
    let mut images = pixels.chunks_exact_mut(size);
    for chunk in dataset.read(64, Some(&[column.index()])).expect("rows") {
        let found = column.images(&chunk.expect("rows")).expect("images");
        for (row, out) in (0..found.len()).zip(&mut images) {
            let image = dismax::dataset::LoadOptions::default().load(&found, row).expect("an image");
            preprocessing.apply_into(&image, &mut resizer, out).expect("pixels");
        }
        if images.len() == 0 {
            break;
        }
    }
    pixels
}

#[test]
fn f16_agrees_with_f32() {
    let model = model();
    let pixels = pixels(&model, 1000);
    let (config, classes) = (model.config(), model.classes().len());
    let weights = tch::Tensor::read_safetensors(model.path().join("model.safetensors")).expect("weights");
    let network = || {
        let network =
            Network::zeroed(config.architecture, config.loss.head(), classes, Device::Cpu).expect("a network");
        network
            .weights()
            .load(&weights.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect())
            .expect("weights");
        network
    };
    let wide = Scorer::try_new(network(), &config.preprocessing).expect("a scorer");
    let half = Scorer::with_kinds([(network(), Kind::Half), (network(), Kind::BFloat16)], &config.preprocessing)
        .expect("a scorer");
    assert!(half.is_reduced_precision() && !wide.is_reduced_precision());
    let calibration = model.calibration().expect("a calibrated model");
    let (mut worst, mut agree, mut rows) = (0.0f32, 0, 0);
    let (mut one, mut other) = (vec![0.0; classes], vec![0.0; classes]);
    for part in pixels.chunks(50 * config.preprocessing.image_bytes()) {
        let (wide, half) = (wide.logits(part).expect("logits"), half.logits(part).expect("logits"));
        for (wide, half) in wide.chunks_exact(classes).zip(half.chunks_exact(classes)) {
            let wide = calibration.apply(wide, &mut one).expect("finite").0.class;
            let half = calibration.apply(half, &mut other).expect("finite").0.class;
            worst = one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
            agree += usize::from(wide == half);
            rows += 1;
        }
    }
    println!("{rows} rows: {agree} predictions agree, worst probability difference {worst:.4}");
    assert_eq!(rows, 1000);
    assert!(agree >= 999 && worst <= 1e-2, "{agree} of {rows} agree, worst difference {worst}");
}
