//! The loop for GPUs on the CPU: it computes what the workers' loop computes, in bf16 nearly so.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::augment::Augmentation;
use crate::checkpoint::TrainingData;
use crate::class_weights::ClassWeights;
use crate::data::{Example, Examples, InMemory, LabelledImages};
use crate::flip::Flip;
use crate::host_fit::fit_on_host;
use crate::keep::Keep;
use crate::optimizer::SgdOptions;
use crate::options::TrainOptions;
use crate::padding::Padding;
use crate::schedule::Schedule;
use crate::whitening::Patches;
use dismax::cancel::Cancel;
use dismax::error::Error;
use dismax::loss::Loss;
use dismax::network::Architecture;
use tch::{Device, Tensor};

const CLASSES: usize = 3;

/// Images of 8x8 whose class shows in their colour, under noise.
fn images(count: usize, seed: u64) -> LabelledImages {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut images = LabelledImages::with_capacity(count, 8, 8);
    for row in 0..count {
        let class = row % CLASSES;
        let pixel = |at: usize, rng: &mut ChaCha8Rng| rng.random_range(0..150) + if at % 3 == class { 80 } else { 0 };
        let pixels: Vec<u8> = (0..8 * 8 * 3).map(|at| pixel(at, &mut rng)).collect();
        images.push(&pixels, class as u32);
    }
    images
}

fn state(epochs: usize) -> TrainingState {
    TrainingState {
        options: TrainOptions {
            architecture: Architecture::Resnet20,
            loss: Loss::DismaxDagger,
            fractional_probability_weight: 1.0,
            class_weights: ClassWeights::Equal,
            keep: Keep::Last,
            ema: None,
            label_smoothing: 0.0,
            mosaic_share: 0.5,
            mosaic_epochs: 1.0,
            whitening: false,
            epochs,
            batch_size: 24,
            sgd: SgdOptions { learning_rate: 0.05, ..SgdOptions::default() },
            initial_weights: None,
            schedule: Schedule::OneCycle,
            augmentation: Augmentation::Crop { padding: 1, flip: Flip::Random, fill: Padding::Black, cutout: 0 },
            size: (8, 8),
            mean: [0.4; 3],
            std: [0.2; 3],
            seed: 3,
            workers: 1,
        },
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        data: TrainingData::default(),
        history: Vec::new(),
    }
}

fn run<R>(body: impl FnOnce(&mut Run<'_>) -> R) -> R {
    body(&mut Run { cancel: Cancel::default(), progress: &mut |_| {} })
}

/// The same with every option, and a rate at which roundings do not grow.
fn state_with_all(epochs: usize) -> TrainingState {
    let mut state = state(epochs);
    state.options = TrainOptions {
        class_weights: ClassWeights::Balanced,
        keep: Keep::Best,
        ema: Some(0.8),
        sgd: SgdOptions { learning_rate: 0.002, ..SgdOptions::default() },
        mosaic_share: 0.25,
        mosaic_epochs: 0.5,
        augmentation: Augmentation::Crop { padding: 1, flip: Flip::Alternating, fill: Padding::Reflect, cutout: 0 },
        ..state.options
    };
    state
}

/// Trains on 192 images: eight equal batches.
fn trained(examples: &dyn Examples, epochs: usize, folder: &Path, kind: Option<Kind>) -> Trained {
    let (held_out, checkpoint) = (images(60, 2), folder.join("checkpoint"));
    let inputs = Inputs {
        initial: None,
        whitening: None,
        class_weights: None,
        selection: None,
        examples,
        held_out: &held_out,
        device: Device::Cpu,
        checkpoint: &checkpoint,
        metrics: &folder.join("metrics"),
    };
    run(|run| match kind {
        Some(kind) => fit_on_device(&inputs, state(epochs), None, kind, run, &mut |_| {}),
        None => fit_on_host(&inputs, state(epochs), None, run, &mut |_| {}),
    })
    .expect("trained")
}

fn worst_difference(one: &Trained, other: &Trained) -> f64 {
    assert_eq!(one.weights.len(), other.weights.len());
    let difference = |(name, tensor): (&String, &Tensor)| {
        let other = &other.weights[name];
        assert_eq!((tensor.size(), tensor.kind()), (other.size(), other.kind()), "{name}");
        (tensor - other).abs().max().double_value(&[])
    };
    one.weights.iter().map(difference).fold(0.0, f64::max)
}

#[test]
fn in_f32_it_is_the_workers_loop() {
    let folder = tempfile::tempdir().expect("a folder");
    let examples = InMemory::new(images(192, 1), 3);
    let team = trained(&examples, 2, folder.path(), None);
    // As the workers have: with more, libtorch rounds otherwise, and a training amplifies that.
    tch::set_num_threads(1);
    let device = trained(&examples, 2, folder.path(), Some(Kind::Float));
    let worst = worst_difference(&team, &device);
    assert!(worst < 5e-3, "weights differ by {worst}");
    for (team, device) in team.history.iter().zip(&device.history) {
        let close = |one: f64, other: f64| (one - other).abs() < 2e-2;
        assert!(close(team.train_objective, device.train_objective), "{team:?} {device:?}");
        assert!(close(team.train_nll, device.train_nll) && close(team.validation_nll, device.validation_nll));
        assert_eq!(team.learning_rate, device.learning_rate);
    }
}

/// Examples that a loader has to make batches of.
struct NotResident(InMemory);

impl Examples for NotResident {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn size(&self) -> (u32, u32) {
        self.0.size()
    }

    fn epoch(&self, epoch: usize) -> Box<dyn Iterator<Item = Result<Example<'_>>> + Send + '_> {
        self.0.epoch(epoch)
    }
}

#[test]
fn images_that_do_not_fit_on_the_device_train_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let resident = trained(&InMemory::new(images(192, 1), 3), 2, folder.path(), Some(Kind::Float));
    let streamed = trained(&NotResident(InMemory::new(images(192, 1), 3)), 2, folder.path(), Some(Kind::Float));
    assert_eq!(worst_difference(&resident, &streamed), 0.0);
}

#[test]
fn in_bf16_it_learns_as_in_f32() {
    let folder = tempfile::tempdir().expect("a folder");
    let examples = InMemory::new(images(192, 1), 3);
    let [wide, narrow] = [Kind::Float, Kind::BFloat16].map(|kind| trained(&examples, 12, folder.path(), Some(kind)));
    let last = |trained: &Trained| *trained.history.last().expect("epochs");
    let (wide_end, narrow_end) = (last(&wide), last(&narrow));
    println!("{wide_end:?}\n{narrow_end:?}");
    assert!(narrow_end.train_objective < 0.8 * narrow.history[0].train_objective, "it must learn");
    // Of a single epoch of eight steps the objective is mostly noise.
    let mean = |trained: &Trained| trained.history.iter().map(|epoch| epoch.train_objective).sum::<f64>() / 12.0;
    assert!((mean(&narrow) / mean(&wide) - 1.0).abs() < 0.1);
    assert!(narrow_end.validation_accuracy > 0.9 && wide_end.validation_accuracy > 0.9);
    assert!(narrow.weights.values().all(|weight| weight.kind() == Kind::Float), "weights are kept in f32");
}

#[test]
fn a_stopped_training_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let examples = InMemory::new(images(192, 1), 3);
    let whole = trained(&examples, 3, folder.path(), Some(Kind::BFloat16));
    let (held_out, file) = (images(60, 2), folder.path().join("stopped"));
    let inputs = Inputs {
        initial: None,
        whitening: None,
        class_weights: None,
        selection: None,
        examples: &examples,
        held_out: &held_out,
        device: Device::Cpu,
        checkpoint: &file,
        metrics: &folder.path().join("metrics"),
    };
    let cancel = Cancel::default();
    let stop = cancel.clone();
    let mut stop_at_half = |progress: dismax::run::Progress| {
        if progress.of.is_some_and(|of| 2 * progress.rows >= of) {
            stop.cancel();
        }
    };
    let mut stopped = Run { cancel, progress: &mut stop_at_half };
    let result = fit_on_device(&inputs, state(3), None, Kind::BFloat16, &mut stopped, &mut |_| {});
    assert!(matches!(result, Err(Error::Cancelled)));
    let checkpoint = Checkpoint::read(&file).expect("the first epoch's checkpoint");
    assert_eq!(checkpoint.state.history.len(), 1);
    let resumed = run(|run| fit_on_device(&inputs, state(3), Some(checkpoint), Kind::BFloat16, run, &mut |_| {}));
    assert_eq!(worst_difference(&whole, &resumed.expect("resumed")), 0.0);
}

#[test]
fn with_all_options_it_is_the_workers_loop_and_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    // Four steps: roundings grow from step to step.
    let examples = InMemory::new(images(48, 1), 3);
    let (held_out, selection) = (images(60, 2), images(30, 4));
    let (file, metrics) = (folder.path().join("checkpoint"), folder.path().join("metrics"));
    let mut patches = Patches::default();
    images(48, 1).pixels.chunks_exact(8 * 8 * 3).for_each(|image| patches.add(image, (8, 8)));
    let whitening = patches.whitening([0.2; 3]);
    let inputs = Inputs {
        initial: None,
        whitening: Some(whitening),
        examples: &examples,
        held_out: &held_out,
        selection: Some(&selection),
        class_weights: Some(vec![0.5, 1.0, 1.5]),
        device: Device::Cpu,
        checkpoint: &file,
        metrics: &metrics,
    };
    let team = run(|run| fit_on_host(&inputs, state_with_all(2), None, run, &mut |_| {})).expect("trained");
    tch::set_num_threads(1);
    let fit = |resume| run(|run| fit_on_device(&inputs, state_with_all(2), resume, Kind::Float, run, &mut |_| {}));
    let whole = fit(None).expect("trained");
    let worst = worst_difference(&team, &whole);
    assert!(worst < 5e-3, "weights differ by {worst}");
    assert!(whole.history.iter().all(|epoch| epoch.selection_accuracy.is_some()));

    let cancel = Cancel::default();
    let stop = cancel.clone();
    let mut stop_late = |progress: dismax::run::Progress| {
        if progress.of.is_some_and(|of| 4 * progress.rows >= 3 * of) {
            stop.cancel();
        }
    };
    let mut stopped = Run { cancel, progress: &mut stop_late };
    let result = fit_on_device(&inputs, state_with_all(2), None, Kind::Float, &mut stopped, &mut |_| {});
    assert!(matches!(result, Err(Error::Cancelled)));
    let checkpoint = Checkpoint::read(&file).expect("the first epoch's checkpoint");
    assert!(checkpoint.average.is_some() && checkpoint.best.is_some());
    let resumed = fit(Some(checkpoint)).expect("resumed");
    assert_eq!(worst_difference(&whole, &resumed), 0.0);
}
