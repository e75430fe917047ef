//! The training loop for a GPU: one replica, in bf16 where the device can, and nothing in a step that waits for it.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};
use dismax::error::{Error, Result};
use dismax::model::EpochRecord;
use dismax::network::{Gradients, Network, Normalizer};
use dismax::run::Run;
use tch::{Device, Kind, Reduction, Tensor};

use super::checkpoint::{Checkpoint, CheckpointWriter, TrainingState, to_host};
use super::data::LabelledImages;
use super::error::TrainError;
use super::flat::FlatWeights;
use super::job::TrainEvent;
use super::loader::{BatchPlan, Preparation, TrainingBatch, load_epoch};
use super::objective::objective;
use super::optimizer::{DeviceSgd, flatten, unflatten};
use super::options::TrainOptions;
use super::resident::{DeviceBatch, EpochSources, ResidentImages};
use super::session::{Inputs, Trained, loader_gone, progress, read_checkpoint};

/// Steps between looks at the figures, which wait for the device.
const STEPS_BETWEEN_LOOKS: usize = 50;
/// Batches that a loader makes ahead, where images do not lie on the device.
const BATCHES_AHEAD: usize = 4;
/// Images of a validation batch.
const VALIDATION_ROWS: usize = 1024;
/// Share of the device's free memory that images may take; activations need the rest.
const IMAGE_SHARE: u64 = 2;
/// An epoch may take two seconds, and a checkpoint of a large network as long.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Trains from the beginning, or from `resume`, to the last epoch of `state.options`, with convolutions that compute in
/// `kind`.
///
/// # Errors
/// As [`fit`](super::fit::fit).
pub(super) fn fit_on_device(
    inputs: &Inputs<'_>,
    mut state: TrainingState,
    resume: Option<Checkpoint>,
    kind: Kind,
    run: &mut Run<'_>,
    events: &mut dyn FnMut(TrainEvent<'_>),
) -> Result<Trained> {
    let options = state.options.clone();
    options.usable_workers(inputs.examples.len())?;
    let plan = BatchPlan::equal(inputs.examples.len(), options.batch_size);
    let mut trainer = DeviceTrainer::try_new(&options, state.classes.len(), inputs.device, kind)?;
    if let Some(checkpoint) = resume {
        trainer.restore(&checkpoint, inputs)?;
        state.history = checkpoint.state.history;
    }
    let resident = trainer.resident(inputs, &options)?;
    let mut checkpoints = CheckpointWriter::new(inputs.checkpoint, CHECKPOINT_INTERVAL);
    for epoch in state.history.len()..options.epochs {
        let start = Instant::now();
        let step_factor = |step| options.schedule.factor(epoch * plan.steps + step, options.epochs * plan.steps);
        let factors: Vec<f64> = (0..plan.steps).map(step_factor).collect();
        trainer.sgd.plan(&factors)?;
        let sums = match &resident {
            Some(resident) => trainer.epoch_of(resident, inputs, plan, epoch, &options, run)?,
            None => trainer.epoch_of_loader(inputs, plan, epoch, &options, run)?,
        };
        let trained_in = start.elapsed().as_secs_f64();
        let (validation_nll, validation_accuracy) = trainer.validate(inputs.held_out, &options)?;
        let record = EpochRecord {
            epoch: epoch + 1,
            learning_rate: options.sgd.learning_rate * factors.last().copied().unwrap_or_default(),
            train_objective: sums.objective / plan.rows as f64,
            train_nll: sums.nll / sums.plain as f64,
            train_accuracy: sums.correct / sums.plain as f64,
            validation_nll,
            validation_accuracy,
            images_per_second: plan.rows as f64 / trained_in,
            seconds: start.elapsed().as_secs_f64(),
        };
        state.history.push(record);
        checkpoints.offer(|| trainer.checkpoint(&state))?;
        events(TrainEvent::Epoch(&record));
    }
    checkpoints.wait()?;
    Ok(Trained { weights: trainer.named_weights()?, history: state.history })
}

/// A network on a device with its optimiser.
struct DeviceTrainer {
    network: Network,
    normalizer: Normalizer,
    flat: FlatWeights,
    sgd: DeviceSgd,
    kind: Kind,
    device: Device,
    /// Sums over the epoch's rows so far, `[3]` f64 on the device: objective, negative log-likelihood, correct.
    sums: Tensor,
}

/// Figures of an epoch, summed over its rows.
struct EpochSums {
    objective: f64,
    nll: f64,
    correct: f64,
    plain: usize,
}

impl DeviceTrainer {
    fn try_new(options: &TrainOptions, classes: usize, device: Device, kind: Kind) -> Result<Self> {
        if device.is_cuda() {
            tch::Cuda::cudnn_set_benchmark(true);
        }
        let network = Network::try_new(options.architecture, options.loss.head(), classes, device, options.seed)?;
        network.weights().require_gradients()?;
        let flat = FlatWeights::try_new(&network, kind)?;
        Ok(Self {
            network,
            normalizer: Normalizer::try_new(options.mean, options.std, device)?,
            sgd: DeviceSgd::try_new(flat.master(), options.sgd)?,
            flat,
            kind,
            device,
            sums: Tensor::f_zeros([3], (Kind::Double, device))?,
        })
    }

    fn restore(&mut self, checkpoint: &Checkpoint, inputs: &Inputs<'_>) -> Result<()> {
        let buffers = self.network.weights().buffers();
        let counts = [self.flat.master().numel(), flatten(&buffers)?.numel()];
        let [parameters, momentum, statistics] = read_checkpoint(checkpoint, counts, inputs.checkpoint)?;
        unflatten(&parameters, &self.flat.views(self.flat.master())?)?;
        unflatten(&momentum, &self.flat.views(self.sgd.momentum())?)?;
        unflatten(&statistics, &buffers)?;
        self.flat.follow()
    }

    fn checkpoint(&self, state: &TrainingState) -> Result<Checkpoint> {
        let row_major = |flat: &Tensor| to_host(&flatten(&self.flat.views(flat)?)?);
        tch::no_grad(|| {
            Ok(Checkpoint {
                state: state.clone(),
                parameters: row_major(self.flat.master())?,
                momentum: row_major(self.sgd.momentum())?,
                buffers: to_host(&flatten(&self.network.weights().buffers())?)?,
            })
        })
    }

    /// The training images on the device, if they are in memory, are only cropped, and leave room.
    fn resident(&self, inputs: &Inputs<'_>, options: &TrainOptions) -> Result<Option<ResidentImages>> {
        let Some(images) = inputs.examples.in_memory().filter(|_| options.augmentation.only_crops()) else {
            return Ok(None);
        };
        let bytes = images.images().pixels.len() as u64;
        let fits = dismax::device::free_memory(self.device).is_none_or(|free| bytes <= free / IMAGE_SHARE);
        fits.then(|| ResidentImages::try_new(images, options.size, self.device)).transpose()
    }

    fn epoch_of(
        &mut self,
        resident: &ResidentImages,
        inputs: &Inputs<'_>,
        plan: BatchPlan,
        epoch: usize,
        options: &TrainOptions,
        run: &mut Run<'_>,
    ) -> Result<EpochSums> {
        let images = inputs.examples.in_memory().expect("resident images are in memory");
        let how = (options.augmentation, options.loss.fractional_probability(), options.seed);
        let sources: EpochSources = resident.epoch(images, plan, how, epoch)?;
        self.epoch_of_batches(plan, epoch, options, run, |step| resident.batch(&sources, step))
    }

    /// The same with batches that threads make on the host.
    fn epoch_of_loader(
        &mut self,
        inputs: &Inputs<'_>,
        plan: BatchPlan,
        epoch: usize,
        options: &TrainOptions,
        run: &mut Run<'_>,
    ) -> Result<EpochSums> {
        let preparation = Preparation {
            augmentation: options.augmentation,
            target: options.size,
            fractional_probability: options.loss.fractional_probability(),
            seed: options.seed,
        };
        let (device, size) = (self.device, options.size);
        // This thread queues the device's work; the others have nothing else to do.
        let threads = thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).max(1);
        thread::scope(|scope| {
            let (sender, batches): (_, Receiver<Result<TrainingBatch>>) = bounded(BATCHES_AHEAD);
            let examples = inputs.examples;
            let loader = scope.spawn(move || load_epoch(examples, plan, preparation, (epoch, threads), &sender));
            let next = |_| batches.recv().map_err(|_| loader_gone())?.and_then(|batch| upload(&batch, size, device));
            let sums = self.epoch_of_batches(plan, epoch, options, run, next);
            // The loader ends once nobody takes its batches.
            drop(batches);
            let loaded = loader.join().map_err(|_| loader_gone());
            sums.and_then(|sums| loaded.map(|()| sums))
        })
    }

    fn epoch_of_batches(
        &mut self,
        plan: BatchPlan,
        epoch: usize,
        options: &TrainOptions,
        run: &mut Run<'_>,
        batch: impl Fn(usize) -> Result<DeviceBatch>,
    ) -> Result<EpochSums> {
        let _ = self.sums.f_zero_()?;
        let (mut rows, mut plain) = (0, 0);
        for step in 0..plan.steps {
            run.report(progress(epoch * plan.rows + rows, options.epochs * plan.rows))?;
            let batch = batch(step)?;
            rows += batch.pixels.size()[0] as usize;
            plain += batch.labels.size()[0] as usize;
            self.step(&batch, step, options)?;
            if (step + 1).is_multiple_of(STEPS_BETWEEN_LOOKS) || step + 1 == plan.steps {
                self.require_finite(epoch, options)?;
            }
        }
        let sums = Vec::<f64>::try_from(&self.sums)?;
        Ok(EpochSums { objective: sums[0], nll: sums[1], correct: sums[2], plain })
    }

    fn require_finite(&self, epoch: usize, options: &TrainOptions) -> Result<()> {
        match self.sums.f_double_value(&[0])?.is_finite() {
            true => Ok(()),
            false => {
                let learning_rate = options.sgd.learning_rate;
                Err(TrainError::Diverged { epoch: epoch + 1, learning_rate }.into())
            }
        }
    }

    /// One step of the optimiser. Everything is queued; nothing is waited for.
    fn step(&mut self, batch: &DeviceBatch, step: usize, options: &TrainOptions) -> Result<()> {
        let images = self.normalizer.images_of(&batch.pixels, self.kind)?;
        let (loss, alpha) = (options.loss, options.fractional_probability_weight);
        let Gradients { logits, objective, gradients } = self
            .network
            .gradients(&images, |logits| objective(loss, logits, &batch.labels, &batch.mixed_labels, alpha))?;
        tch::no_grad(|| {
            self.sgd.step(self.flat.master(), &self.flat.gradient(&gradients)?, step)?;
            self.flat.follow()?;
            let plain = logits.f_narrow(0, 0, batch.labels.size()[0])?;
            let nll = nll_sum(&plain, &batch.labels)?;
            let correct = plain.f_argmax(1, false)?.f_eq_tensor(&batch.labels)?.f_sum(Kind::Double)?;
            let objective = objective.f_to_kind(Kind::Double)?.f_mul_scalar(batch.pixels.size()[0])?;
            let _ = self.sums.f_add_(&Tensor::f_stack(&[objective, nll, correct], 0)?)?;
            Ok(())
        })
    }

    /// Mean negative log-likelihood (nats, temperature 1) and accuracy on `images`.
    fn validate(&self, images: &LabelledImages, options: &TrainOptions) -> Result<(f64, f64)> {
        let size = options.size;
        tch::no_grad(|| {
            let sums = Tensor::f_zeros([2], (Kind::Double, self.device))?;
            for start in (0..images.len()).step_by(VALIDATION_ROWS) {
                let rows = start..images.len().min(start + VALIDATION_ROWS);
                let labels: Vec<i64> = images.labels[rows.clone()].iter().map(|&label| i64::from(label)).collect();
                let labels = Tensor::f_from_slice(&labels)?.f_to_device(self.device)?;
                let pixels = pixels(&images.center_crops(rows, size), size, self.device)?;
                let logits = self.network.logits(&self.normalizer.images_of(&pixels, self.kind)?, false)?;
                let correct = logits.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Double)?;
                let found = Tensor::f_stack(&[nll_sum(&logits, &labels)?, correct], 0)?;
                let _ = sums.shallow_clone().f_add_(&found)?;
            }
            let sums = Vec::<f64>::try_from(&sums)?;
            Ok((sums[0] / images.len() as f64, sums[1] / images.len() as f64))
        })
    }

    /// All weights in f32 on the host, by name.
    fn named_weights(&self) -> Result<HashMap<String, Tensor>> {
        let mut trained = self.flat.views(self.flat.master())?.into_iter();
        let value = |weight: &dismax::network::Weight| -> Result<(String, Tensor)> {
            let tensor = match weight.trainable {
                true => trained.next().ok_or_else(|| Error::Internal("a weight is not in the vector".into()))?,
                false => weight.tensor.shallow_clone(),
            };
            Ok((weight.name.clone(), tensor.f_detach()?.f_to_device(Device::Cpu)?))
        };
        self.network.weights().iter().map(value).collect()
    }
}

/// Sum of the rows' negative log-likelihood in nats, a single f64.
fn nll_sum(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let log_p = logits.f_log_softmax(1, Kind::Double)?;
    Ok(log_p.f_nll_loss(labels, None::<Tensor>, Reduction::Sum, -100)?)
}

/// Pixels `[B, H, W, 3]` u8 on the device.
fn pixels(bytes: &[u8], (height, width): (u32, u32), device: Device) -> Result<Tensor> {
    let pixels = Tensor::f_from_slice(bytes)?.f_view([-1, i64::from(height), i64::from(width), 3])?;
    Ok(pixels.f_to_device(device)?)
}

fn upload(batch: &TrainingBatch, size: (u32, u32), device: Device) -> Result<DeviceBatch> {
    Ok(DeviceBatch {
        pixels: pixels(&batch.pixels, size, device)?,
        labels: Tensor::f_from_slice(&batch.labels)?.f_to_device(device)?,
        mixed_labels: Tensor::f_from_slice(&batch.mixed_labels)?.f_view([-1, 4])?.f_to_device(device)?,
    })
}

#[cfg(test)]
#[path = "device_fit_tests.rs"]
mod tests;
