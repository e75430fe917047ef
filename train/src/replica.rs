//! A thread that owns a replica of the network and computes gradients and logits with it.

use crossbeam::channel::{Receiver, Sender};
use tch::{Device, Kind, Tensor};

use super::loader::TrainingBatch;
use super::objective::{Objective, ObjectiveOptions};
use super::optimizer::{flatten, unflatten};
use dismax::error::Result;
use dismax::network::{Architecture, Gradients, Network, Normalizer};

/// What a worker is told to do.
#[derive(Debug)]
pub enum Command {
    /// Take over these parameters `[P]` and buffers (running statistics) `[Q]`, and compute the gradient of this ghost
    /// batch.
    Step(TrainingBatch, Tensor, Tensor),
    /// Take over these parameters and buffers and use them from here on.
    Load(Tensor, Tensor),
    /// Compute the logits of these images in evaluation mode.
    Logits(Vec<u8>),
}

/// What a worker replies.
#[derive(Debug)]
pub enum Reply {
    /// Gradient and figures of a step.
    Step(StepResult),
    /// Loaded.
    Loaded,
    /// Logits `[N, C]`, row-major.
    Logits(Vec<f32>),
}

impl Reply {
    /// The result of a step.
    pub fn step(self) -> Option<StepResult> {
        if let Self::Step(result) = self { Some(result) } else { None }
    }

    /// Logits `[N, C]`.
    pub fn logits(self) -> Option<Vec<f32>> {
        if let Self::Logits(logits) = self { Some(logits) } else { None }
    }
}

/// A ghost batch's part of a step.
#[derive(Debug)]
pub struct StepResult {
    /// Buffers after it, `[Q]`.
    pub buffers: Tensor,
    /// Gradient of the training objective, `[P]`.
    pub gradient: Tensor,
    /// Rows that it is the mean of.
    pub rows: usize,
    /// Training objective, mean over the rows.
    pub objective: f64,
    /// Sum of the plain rows' negative log-likelihood in nats, without entropic scale.
    pub nll_sum: f64,
    /// Plain rows that were classified correctly (with the parameters before the step).
    pub correct: i64,
    /// Plain rows.
    pub plain: usize,
}

/// What a worker needs to build its replica.
#[derive(Debug, Clone)]
pub struct ReplicaPlan {
    /// Network.
    pub architecture: Architecture,
    /// Training objective.
    pub objective: ObjectiveOptions,
    /// Number of classes.
    pub classes: usize,
    /// Height and width of the network's input.
    pub size: (u32, u32),
    /// Channel means on the scale 0 to 1.
    pub mean: [f32; 3],
    /// Channel standard deviations on the scale 0 to 1.
    pub std: [f32; 3],
    /// Where the replica lives.
    pub device: Device,
    /// Fixes the initial weights.
    pub seed: u64,
}

/// A replica and what it is fed through.
#[derive(Debug)]
pub struct Replica {
    plan: ReplicaPlan,
    objective: Objective,
    network: Network,
    normalizer: Normalizer,
    trainable: Vec<Tensor>,
    buffers: Vec<Tensor>,
}

impl Replica {
    /// Builds the replica with its initial weights.
    pub fn try_new(plan: ReplicaPlan) -> Result<Self> {
        let network =
            Network::try_new(plan.architecture, plan.objective.loss.head(), plan.classes, plan.device, plan.seed)?;
        network.weights().require_gradients()?;
        let (trainable, buffers) = (network.weights().trainable(), network.weights().buffers());
        let normalizer = Normalizer::try_new(plan.mean, plan.std, plan.device)?;
        let objective = Objective::try_new(plan.objective.clone(), plan.device)?;
        Ok(Self { plan, objective, network, normalizer, trainable, buffers })
    }

    /// The replica.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Replys commands until nobody sends or nobody listens.
    pub fn run(self, commands: &Receiver<Command>, replies: &Sender<Result<Reply>>) {
        // Per thread in libtorch: a worker per core with one thread each beats one worker with a thread per core, and
        // more would sum in another order.
        tch::set_num_threads(1);
        for command in commands {
            if replies.send(self.reply(command)).is_err() {
                return;
            }
        }
    }

    /// Does what it is told.
    fn reply(&self, command: Command) -> Result<Reply> {
        match command {
            Command::Step(batch, parameters, buffers) => {
                unflatten(&parameters.f_to_device(self.plan.device)?, &self.trainable)?;
                unflatten(&buffers.f_to_device(self.plan.device)?, &self.buffers)?;
                Ok(Reply::Step(self.step(&batch)?))
            }
            Command::Load(parameters, buffers) => {
                unflatten(&parameters.f_to_device(self.plan.device)?, &self.trainable)?;
                unflatten(&buffers.f_to_device(self.plan.device)?, &self.buffers)?;
                Ok(Reply::Loaded)
            }
            Command::Logits(pixels) => tch::no_grad(|| {
                let images = self.normalizer.images(&pixels, self.plan.size.0, self.plan.size.1)?;
                let features = self.network.features(&images, false)?;
                let logits = self.objective.scoring_logits(self.network.head(), &features)?;
                let logits = logits.f_to_device(Device::Cpu)?;
                Ok(Reply::Logits(Vec::<f32>::try_from(&logits.f_reshape([-1])?)?))
            }),
        }
    }

    fn step(&self, batch: &TrainingBatch) -> Result<StepResult> {
        let device = self.plan.device;
        let images = self.normalizer.images(&batch.pixels, self.plan.size.0, self.plan.size.1)?;
        let labels = Tensor::f_from_slice(&batch.labels)?.f_to_device(device)?;
        let mixed = Tensor::f_from_slice(&batch.mixed_labels)?.f_view([-1, 4])?.f_to_device(device)?;
        let Gradients { logits, objective, gradients } = self
            .network
            .gradients(&images, |head, features| self.objective.of_features(head, features, &labels, &mixed))?;
        tch::no_grad(|| {
            let plain = logits.f_narrow(0, 0, batch.labels.len() as i64)?;
            let log_p = plain.f_log_softmax(1, None)?;
            let nll_sum = log_p.f_nll_loss(&labels, None::<Tensor>, tch::Reduction::Sum, -100)?;
            let correct = plain.f_argmax(1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?;
            Ok(StepResult {
                buffers: flatten(&self.buffers)?,
                gradient: flatten(&gradients)?,
                rows: batch.rows(),
                objective: objective.f_double_value(&[])?,
                nll_sum: nll_sum.f_double_value(&[])?,
                correct: correct.f_int64_value(&[])?,
                plain: batch.labels.len(),
            })
        })
    }
}
