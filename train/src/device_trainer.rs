//! A network that is trained on a device: a step queues its work there and waits for nothing.

use std::path::Path;

use dismax::error::{Error, Result};
use dismax::network::{Gradients, Network, Normalizer, Weights};
use tch::{Device, Kind, Reduction, Tensor};

use super::average::Average;
use super::checkpoint::{Checkpoint, TrainingState, to_host};
use super::data::LabelledImages;
use super::flat::FlatWeights;
use super::objective::Objective;
use super::optimizer::{DeviceSgd, flatten, unflatten};
use super::options::TrainOptions;
use super::resident::DeviceBatch;
use super::session::{Inputs, read_checkpoint};
use super::snapshot::Snapshot;

/// Images of a validation batch.
const VALIDATION_ROWS: usize = 1024;

/// A network on a device with its optimiser.
pub(super) struct DeviceTrainer {
    network: Network,
    normalizer: Normalizer,
    flat: FlatWeights,
    sgd: DeviceSgd,
    objective: Objective,
    average: Option<Average>,
    kind: Kind,
    device: Device,
    /// [`Sums`] so far, `[3]` f64 on the device.
    sums: Tensor,
}

/// Figures of an epoch, summed over its rows: the objective over all, the others over the plain ones.
pub(super) struct Sums {
    /// Training objective.
    pub(super) objective: f64,
    /// Negative log-likelihood in nats.
    pub(super) nll: f64,
    /// Rows that were classified correctly.
    pub(super) correct: f64,
}

impl DeviceTrainer {
    /// A new network of so many classes on the inputs' device whose convolutions compute in `kind`.
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub(super) fn try_new(options: &TrainOptions, classes: usize, inputs: &Inputs<'_>, kind: Kind) -> Result<Self> {
        let device = inputs.device;
        if device.is_cuda() {
            tch::Cuda::cudnn_set_benchmark(true);
        }
        let network = Network::try_new(options.architecture, options.loss.head(), classes, device, options.seed)?;
        inputs.begin(&network)?;
        network.weights().require_gradients()?;
        let flat = FlatWeights::try_new(&network, kind)?;
        let buffers = flatten(&network.weights().buffers())?;
        let average = options.ema.map(|decay| Average::try_new(flat.master(), &buffers, decay)).transpose()?;
        Ok(Self {
            average,
            normalizer: Normalizer::try_new(options.mean, options.std, device)?,
            sgd: DeviceSgd::try_new(flat.master(), options.sgd, network.head_parameters() as i64)?,
            objective: Objective::try_new(options.objective(inputs.class_weights.clone()), device)?,
            network,
            flat,
            kind,
            device,
            sums: Tensor::f_zeros([3], (Kind::Double, device))?,
        })
    }

    /// Takes over the state of `checkpoint`, which comes from the file `path`, after so many steps.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`](super::error::TrainError::Checkpoint) if it is of another network.
    pub(super) fn restore(&mut self, checkpoint: &Checkpoint, path: &Path, steps: usize) -> Result<()> {
        let buffers = self.network.weights().buffers();
        let counts = [self.flat.master().numel(), flatten(&buffers)?.numel()];
        let [parameters, momentum, statistics] = read_checkpoint(checkpoint, counts, path)?;
        unflatten(&parameters, &self.flat.views(self.flat.master())?)?;
        unflatten(&momentum, &self.flat.views(self.sgd.momentum())?)?;
        unflatten(&statistics, &buffers)?;
        if let Some((average, kept)) = self.average.as_mut().zip(checkpoint.average.as_ref()) {
            // Read into places of their own first: the vector has another order than the file.
            let parameters = self.flat.master().f_zeros_like()?;
            unflatten(&Tensor::f_from_slice(&kept.parameters)?, &self.flat.views(&parameters)?)?;
            average.restore(&parameters, &Tensor::f_from_slice(&kept.buffers)?, steps)?;
        }
        self.flat.follow()
    }

    /// Plans the steps of an epoch by their shares of the peak learning rate, and begins its figures.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn begin_epoch(&mut self, factors: &[f64]) -> Result<()> {
        let _ = self.sums.f_zero_()?;
        self.sgd.plan(factors)
    }

    /// The epoch's figures so far. Waits for the device.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn sums(&self) -> Result<Sums> {
        let sums = Vec::<f64>::try_from(&self.sums)?;
        Ok(Sums { objective: sums[0], nll: sums[1], correct: sums[2] })
    }

    /// What continues the training from here.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn checkpoint(&self, state: &TrainingState, best: &Option<Snapshot>) -> Result<Checkpoint> {
        let Snapshot { parameters, buffers } = self.snapshot()?;
        let momentum = self.row_major(self.sgd.momentum())?;
        let average = self.average.as_ref().map(|_| self.measured()).transpose()?;
        Ok(Checkpoint { state: state.clone(), parameters, momentum, buffers, best: best.clone(), average })
    }

    /// The weights that are measured and kept: averaged ones where there are.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn measured(&self) -> Result<Snapshot> {
        let Some(average) = &self.average else { return self.snapshot() };
        Ok(Snapshot { parameters: self.row_major(average.parameters())?, buffers: to_host(average.buffers())? })
    }

    /// Does `body` with the weights that are measured, and goes back to those that are trained.
    ///
    /// # Errors
    /// What `body` gives, whatever libtorch refuses.
    pub(super) fn with_measured<R>(&self, body: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        let Some(average) = &self.average else { return body(self) };
        let buffers = self.network.weights().buffers();
        let set = |parameters: &Tensor, statistics: &Tensor| {
            tch::no_grad(|| self.flat.master().shallow_clone().f_copy_(parameters))?;
            unflatten(statistics, &buffers)?;
            self.flat.follow()
        };
        let trained = tch::no_grad(|| Ok::<_, Error>((self.flat.master().f_add_scalar(0.0)?, flatten(&buffers)?)))?;
        set(average.parameters(), average.buffers())?;
        let outcome = body(self);
        set(&trained.0, &trained.1)?;
        outcome
    }

    /// The weights as they are now.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    fn snapshot(&self) -> Result<Snapshot> {
        let buffers = tch::no_grad(|| to_host(&flatten(&self.network.weights().buffers())?))?;
        Ok(Snapshot { parameters: self.row_major(self.flat.master())?, buffers })
    }

    /// The tensors that the network computes with: their names and shapes.
    pub(super) fn weights(&self) -> &Weights {
        self.network.weights()
    }

    fn row_major(&self, flat: &Tensor) -> Result<Vec<f32>> {
        tch::no_grad(|| to_host(&flatten(&self.flat.views(flat)?)?))
    }

    /// Step number `step` of the epoch. Everything is queued; nothing is waited for.
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub(super) fn step(&mut self, batch: &DeviceBatch, step: usize) -> Result<()> {
        let images = self.normalizer.images_of(&batch.pixels, self.kind)?;
        let Gradients { logits, objective, gradients } = self.network.gradients(&images, |head, features| {
            self.objective.of_features(head, features, &batch.labels, &batch.mixed_labels)
        })?;
        tch::no_grad(|| {
            self.sgd.step(self.flat.master(), &self.flat.gradient(&gradients)?, step)?;
            self.flat.follow()?;
            if let Some(average) = &mut self.average {
                average.update(self.flat.master(), &flatten(&self.network.weights().buffers())?)?;
            }
            let plain = logits.f_narrow(0, 0, batch.labels.size()[0])?;
            let nll = nll_sum(&plain, &batch.labels)?;
            let correct = plain.f_argmax(1, false)?.f_eq_tensor(&batch.labels)?.f_sum(Kind::Double)?;
            let objective = objective.f_to_kind(Kind::Double)?.f_mul_scalar(batch.pixels.size()[0])?;
            let _ = self.sums.f_add_(&Tensor::f_stack(&[objective, nll, correct], 0)?)?;
            Ok(())
        })
    }

    /// Mean negative log-likelihood (nats, temperature 1) and accuracy on `images`.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn validate(&self, images: &LabelledImages, options: &TrainOptions) -> Result<(f64, f64)> {
        let size = options.size;
        tch::no_grad(|| {
            let sums = Tensor::f_zeros([2], (Kind::Double, self.device))?;
            for start in (0..images.len()).step_by(VALIDATION_ROWS) {
                let rows = start..images.len().min(start + VALIDATION_ROWS);
                let labels: Vec<i64> = images.labels[rows.clone()].iter().map(|&label| i64::from(label)).collect();
                let labels = Tensor::f_from_slice(&labels)?.f_to_device(self.device)?;
                let pixels = pixels(&images.center_crops(rows, size), size, self.device)?;
                let features = self.network.features(&self.normalizer.images_of(&pixels, self.kind)?, false)?;
                let logits = self.objective.scoring_logits(self.network.head(), &features)?;
                let correct = logits.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Double)?;
                let found = Tensor::f_stack(&[nll_sum(&logits, &labels)?, correct], 0)?;
                let _ = sums.shallow_clone().f_add_(&found)?;
            }
            let sums = Vec::<f64>::try_from(&sums)?;
            Ok((sums[0] / images.len() as f64, sums[1] / images.len() as f64))
        })
    }
}

/// Sum of the rows' negative log-likelihood in nats, a single f64.
fn nll_sum(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let log_p = logits.f_log_softmax(1, Kind::Double)?;
    Ok(log_p.f_nll_loss(labels, None::<Tensor>, Reduction::Sum, -100)?)
}

/// Pixels `[B, H, W, 3]` u8 on the device.
pub(super) fn pixels(bytes: &[u8], (height, width): (u32, u32), device: Device) -> Result<Tensor> {
    let pixels = Tensor::f_from_slice(bytes)?.f_view([-1, i64::from(height), i64::from(width), 3])?;
    Ok(pixels.f_to_device(device)?)
}
