//! The 16-bit networks of GPUs, computed on the CPU: how far their scores are from those of f32.

use std::path::{Path, PathBuf};

use dismax::Model;
use dismax::dataset::Dataset;
use dismax::image::ReusableResizer;
use dismax::model::ImageInput;
use dismax::network::{Network, Scorer};
use dismax::score::RowOutput;
use tch::{Device, Kind};

fn model() -> Model {
    Model::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar10-resnet20")).expect("the repository's model")
}

fn input(model: &Model) -> &ImageInput {
    model.input().images().expect("a model of images")
}

/// Preprocessed pixels of `rows` images: of CIFAR-10's test set where `DISMAX_CIFAR10_TEST` names it, else drawn.
fn pixels(model: &Model, rows: usize) -> Vec<u8> {
    let preprocessing = &input(model).preprocessing;
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

fn output(logits: &[f32]) -> RowOutput<'_> {
    RowOutput { logits, features: None }
}

/// Predictions that agree with those of `wide` and the largest difference of a probability.
fn compare(model: &Model, wide: &Scorer, other: &Scorer, pixels: &[u8]) -> (usize, usize, f32) {
    let (calibration, classes) = (model.calibration().expect("a calibrated model"), model.classes().len());
    let (mut worst, mut agree, mut rows) = (0.0f32, 0, 0);
    let (mut one, mut two) = (vec![0.0; classes], vec![0.0; classes]);
    for part in pixels.chunks(100 * input(model).preprocessing.image_bytes()) {
        let (wide, other) = (wide.logits(part).expect("logits"), other.logits(part).expect("logits"));
        for (wide, other) in wide.chunks_exact(classes).zip(other.chunks_exact(classes)) {
            let wide = calibration.apply(output(wide), &mut one).expect("finite").0.class;
            let other = calibration.apply(output(other), &mut two).expect("finite").0.class;
            worst = one.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
            agree += usize::from(wide == other);
            rows += 1;
        }
    }
    (rows, agree, worst)
}

#[test]
fn sixteen_bits_agree_with_f32() {
    let model = model();
    let pixels = pixels(&model, 1000);
    let config = input(&model);
    let weights = tch::Tensor::read_safetensors(model.path().join("model.safetensors")).expect("weights");
    let network = || {
        let classes = model.classes().len();
        let network = Network::zeroed(config.architecture, config.loss.head(), classes, Device::Cpu);
        let network = network.expect("a network");
        let named = weights.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        network.weights().load(&named.collect()).expect("weights");
        network
    };
    let wide = Scorer::try_new(network(), &config.preprocessing).expect("a scorer");
    assert!(!wide.is_reduced_precision());
    // f16 is what GPUs score with; bf16 is for batches that leave its range.
    for (kind, fewest, largest) in [(Kind::Half, 999, 1e-2), (Kind::BFloat16, 990, 8e-2)] {
        let scorer = Scorer::with_kinds([(network(), kind)], &config.preprocessing).expect("a scorer");
        assert!(scorer.is_reduced_precision());
        let (rows, agree, worst) = compare(&model, &wide, &scorer, &pixels);
        println!("{kind:?}: {agree} of {rows} predictions agree, worst probability difference {worst:.4}");
        assert!(rows == 1000 && agree >= fewest && worst <= largest, "{kind:?}: {agree} of {rows}, {worst}");
    }
}

#[test]
fn what_leaves_the_range_of_f16_is_computed_again() {
    let model = model();
    let pixels = pixels(&model, 8);
    let config = input(&model);
    // A stem of which every output is beyond f16's 65,504, and a head that does not care for the features' length.
    let weights = tch::Tensor::read_safetensors(model.path().join("model.safetensors")).expect("weights");
    let network = || {
        let network = Network::zeroed(config.architecture, config.loss.head(), model.classes().len(), Device::Cpu);
        let network = network.expect("a network");
        let larger =
            |name: &str, tensor: &tch::Tensor| if name.starts_with("bn1.") { tensor * 1e6 } else { tensor.copy() };
        let named = weights.iter().map(|(name, tensor)| (name.clone(), larger(name, tensor)));
        network.weights().load(&named.collect()).expect("weights");
        network
    };
    let scorer = |kinds: &[Kind]| {
        let networks = kinds.iter().map(|&kind| (network(), kind));
        Scorer::with_kinds(networks, &config.preprocessing).expect("a scorer")
    };
    let logits = |scorer: &Scorer| scorer.logits(&pixels).expect("logits");
    assert!(logits(&scorer(&[Kind::Half])).iter().any(|logit| !logit.is_finite()), "f16 must overflow here");
    let again = logits(&scorer(&[Kind::Half, Kind::BFloat16]));
    assert!(again.iter().all(|logit| logit.is_finite()));
    assert_eq!(again, logits(&scorer(&[Kind::BFloat16])));
    // On a device the wider network runs on another thread.
    let mut half = scorer(&[Kind::Half, Kind::BFloat16]);
    let wider = half.take_wider().expect("a wider network");
    assert!(half.take_wider().is_none());
    assert_eq!(logits(&wider), again);
}
