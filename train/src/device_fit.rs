//! The training loop for a GPU: one replica, in bf16 where the device can, and nothing in a step that waits for it.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};
use dismax::device::free_memory;
use dismax::error::Result;
use dismax::model::EpochRecord;
use dismax::run::Run;
use tch::{Kind, Tensor};

use super::checkpoint::{Checkpoint, CheckpointWriter, TrainingState};
use super::device_trainer::{DeviceTrainer, Sums, pixels};
use super::error::TrainError;
use super::job::TrainEvent;
use super::keep::is_best_so_far;
use super::loader::{BatchPlan, Preparation, TrainingBatch, load_epoch};
use super::metrics_file::write_metrics;
use super::options::TrainOptions;
use super::resident::{DeviceBatch, ResidentImages};
use super::session::{Inputs, Trained, loader_gone, progress};

/// Steps between looks at the figures, which wait for the device.
const STEPS_BETWEEN_LOOKS: usize = 50;
/// Batches that a loader makes ahead, where images do not lie on the device.
const BATCHES_AHEAD: usize = 4;
/// One part in this many of the device's free memory may be images; activations need the rest.
const IMAGE_SHARE: u64 = 2;
/// An epoch may take two seconds, and a checkpoint of a large network as long.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Trains from the beginning, or from `resume`, to the last epoch of `state.options`, with convolutions that compute in
/// `kind`.
///
/// # Errors
/// As [`fit_on_host`](super::host_fit::fit_on_host).
pub(super) fn fit_on_device(
    inputs: &Inputs<'_>,
    mut state: TrainingState,
    resume: Option<Checkpoint>,
    kind: Kind,
    run: &mut Run<'_>,
    events: &mut dyn FnMut(TrainEvent<'_>),
) -> Result<Trained> {
    let options = state.options.clone();
    options.ghosts(inputs.examples.len())?;
    let plan = BatchPlan::equal(inputs.examples.len(), options.batch_size);
    let mut trainer = DeviceTrainer::try_new(&options, state.classes.len(), inputs, kind)?;
    let mut best = None;
    if let Some(checkpoint) = resume {
        trainer.restore(&checkpoint, inputs.checkpoint, checkpoint.state.history.len() * plan.steps)?;
        (state.history, best) = (checkpoint.state.history, checkpoint.best);
    }
    let epochs = Epochs { inputs, options: &options, plan, resident: resident(inputs, &options)? };
    let mut checkpoints = CheckpointWriter::new(inputs.checkpoint, CHECKPOINT_INTERVAL);
    for epoch in state.history.len()..options.epochs {
        let start = Instant::now();
        let factor = |step| options.schedule.factor(epoch * plan.steps + step, options.epochs * plan.steps);
        let factors: Vec<f64> = (0..plan.steps).map(factor).collect();
        trainer.begin_epoch(&factors)?;
        let (sums, plain) = epochs.run(&mut trainer, epoch, run)?;
        let trained_in = start.elapsed().as_secs_f64();
        let ((validation_nll, validation_accuracy), selection) = trainer.with_measured(|trainer| {
            let selection = inputs.selection.map(|rows| trainer.validate(rows, &options)).transpose()?;
            Ok((trainer.validate(inputs.held_out, &options)?, selection))
        })?;
        let record = EpochRecord {
            epoch: epoch + 1,
            learning_rate: options.sgd.learning_rate * factors.last().copied().unwrap_or_default(),
            train_objective: sums.objective / plan.rows as f64,
            train_nll: sums.nll / plain as f64,
            train_accuracy: sums.correct / plain as f64,
            validation_nll,
            validation_accuracy,
            selection_accuracy: selection.map(|(_, accuracy)| accuracy),
            images_per_second: plan.rows as f64 / trained_in,
            seconds: start.elapsed().as_secs_f64(),
        };
        state.history.push(record);
        write_metrics(inputs.metrics, &state.history)?;
        if is_best_so_far(&state.history) {
            best = Some(trainer.measured()?);
        }
        checkpoints.offer(|| trainer.checkpoint(&state, &best))?;
        events(TrainEvent::Epoch(&record));
    }
    checkpoints.wait()?;
    let kept = best.map_or_else(|| trainer.measured(), Ok)?;
    Ok(Trained { weights: kept.named(trainer.weights())?, history: state.history })
}

/// The training images on the device, if they are in memory, are only cropped, and leave room.
fn resident(inputs: &Inputs<'_>, options: &TrainOptions) -> Result<Option<ResidentImages>> {
    let Some(images) = inputs.examples.in_memory().filter(|_| options.augmentation.only_crops()) else {
        return Ok(None);
    };
    let bytes = images.images().pixels.len() as u64;
    let fits = free_memory(inputs.device).is_none_or(|free| bytes <= free / IMAGE_SHARE);
    fits.then(|| ResidentImages::try_new(images, options.size, inputs.device)).transpose()
}

/// Where the batches of all epochs come from.
struct Epochs<'a> {
    inputs: &'a Inputs<'a>,
    options: &'a TrainOptions,
    plan: BatchPlan,
    resident: Option<ResidentImages>,
}

impl Epochs<'_> {
    /// Takes the steps of an epoch. Its figures, and the number of its plain rows.
    fn run(&self, trainer: &mut DeviceTrainer, epoch: usize, run: &mut Run<'_>) -> Result<(Sums, usize)> {
        let Some((resident, images)) = self.resident.as_ref().zip(self.inputs.examples.in_memory()) else {
            return self.run_with_loader(trainer, epoch, run);
        };
        let options = self.options;
        let how = (options.augmentation, options.mixed_share(epoch), options.seed);
        let sources = resident.epoch(images, self.plan, how, epoch)?;
        self.take_steps(trainer, epoch, run, |step| resident.batch(&sources, step))
    }

    /// The same with batches that threads make on the host.
    fn run_with_loader(&self, trainer: &mut DeviceTrainer, epoch: usize, run: &mut Run<'_>) -> Result<(Sums, usize)> {
        let preparation = Preparation {
            augmentation: self.options.augmentation,
            target: self.options.size,
            mixed_share: self.options.mixed_share(epoch),
            seed: self.options.seed,
        };
        let (examples, plan) = (self.inputs.examples, self.plan);
        // This thread queues the device's work; the others have nothing else to do.
        let threads = thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).max(1);
        thread::scope(|scope| {
            let (sender, batches): (_, Receiver<Result<TrainingBatch>>) = bounded(BATCHES_AHEAD);
            let loader = scope.spawn(move || load_epoch(examples, plan, preparation, (epoch, threads), &sender));
            let next = |_| batches.recv().map_err(|_| loader_gone())?.and_then(|batch| self.upload(&batch));
            let figures = self.take_steps(trainer, epoch, run, next);
            // The loader ends once nobody takes its batches.
            drop(batches);
            let loaded = loader.join().map_err(|_| loader_gone());
            figures.and_then(|figures| loaded.map(|()| figures))
        })
    }

    fn take_steps(
        &self,
        trainer: &mut DeviceTrainer,
        epoch: usize,
        run: &mut Run<'_>,
        batch: impl Fn(usize) -> Result<DeviceBatch>,
    ) -> Result<(Sums, usize)> {
        let (plan, options) = (self.plan, self.options);
        let (mut rows, mut plain) = (0, 0);
        for step in 0..plan.steps {
            run.report(progress(epoch * plan.rows + rows, options.epochs * plan.rows))?;
            let batch = batch(step)?;
            rows += batch.pixels.size()[0] as usize;
            plain += batch.labels.size()[0] as usize;
            trainer.step(&batch, step)?;
            if (step + 1).is_multiple_of(STEPS_BETWEEN_LOOKS) {
                self.finite(trainer.sums()?, epoch)?;
            }
        }
        Ok((self.finite(trainer.sums()?, epoch)?, plain))
    }

    fn finite(&self, sums: Sums, epoch: usize) -> Result<Sums> {
        let learning_rate = self.options.sgd.learning_rate;
        let diverged = || TrainError::Diverged { epoch: epoch + 1, learning_rate }.into();
        sums.objective.is_finite().then_some(sums).ok_or_else(diverged)
    }

    fn upload(&self, batch: &TrainingBatch) -> Result<DeviceBatch> {
        let device = self.inputs.device;
        Ok(DeviceBatch {
            pixels: pixels(&batch.pixels, self.options.size, device)?,
            labels: Tensor::f_from_slice(&batch.labels)?.f_to_device(device)?,
            mixed_labels: Tensor::f_from_slice(&batch.mixed_labels)?.f_view([-1, 4])?.f_to_device(device)?,
        })
    }
}

#[cfg(test)]
#[path = "device_fit_tests.rs"]
mod tests;
