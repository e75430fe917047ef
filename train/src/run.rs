//! The training loop: workers compute gradients, one thread takes the steps.

use std::collections::HashMap;
use std::path::Path;
use std::thread;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use tch::{Device, Tensor};

use super::checkpoint::{Checkpoint, TrainingState, to_host};
use super::data::{Examples, LabelledImages};
use super::error::TrainError;
use super::loader::{BatchPlan, Preparation, TrainingBatch, load_epoch};
use super::optimizer::{Sgd, flatten, unflatten};
use super::options::TrainOptions;
use super::worker::{Answer, Command, StepResult, Worker, WorkerPlan};
use dismax::cancel::Cancel;
use dismax::error::{Error, Result};
use dismax::model::EpochRecord;
use dismax::score::{class_and_confidence, nll_of_row};

/// Batches made ahead, for each worker.
const BATCHES_AHEAD: usize = 2;
/// Images of one evaluation batch.
const EVALUATION_ROWS: usize = 128;

/// What the caller hears while a training runs.
#[derive(Debug, Clone, Copy)]
pub enum TrainEvent<'a> {
    /// An optimiser step was taken.
    Step {
        /// Epoch, from 1.
        epoch: usize,
        /// Steps taken in it.
        step: usize,
        /// Steps in it.
        steps: usize,
        /// Rows of this step.
        rows: usize,
        /// Training objective of this step.
        objective: f64,
    },
    /// An epoch ended and its checkpoint is written.
    Epoch(&'a EpochRecord),
}

/// Surroundings of a training that do not change its result.
pub struct TrainContext<'a> {
    /// One device per worker (repeated as needed).
    pub devices: &'a [Device],
    /// Where the checkpoint is kept; none is written without.
    pub checkpoint: Option<&'a Path>,
    /// Stops at the next step; the checkpoint of the last whole epoch stays.
    pub cancel: Cancel,
    /// Called after every step and epoch.
    pub observe: &'a mut dyn FnMut(TrainEvent<'_>),
}

/// Trained weights by name, on the host.
#[derive(Debug)]
pub struct Trained {
    /// Parameters and running statistics under the reference's names.
    pub weights: HashMap<String, Tensor>,
    /// All epochs.
    pub history: Vec<EpochRecord>,
}

/// Trains from the beginning, or from `resume`, to the last epoch of `state.options`.
///
/// `examples` are the rows to train on; `validation` are the held-out rows, looked at after every epoch and never
/// learnt from.
///
/// # Errors
/// [`Error::Config`] for options that do not fit, [`Error::Cancelled`] after a stop, and whatever reading, libtorch or
/// writing the checkpoint give.
pub fn run(
    examples: &dyn Examples,
    validation: (&LabelledImages, &[usize]),
    mut state: TrainingState,
    resume: Option<Checkpoint>,
    context: &mut TrainContext<'_>,
) -> Result<Trained> {
    let options = state.options.clone();
    options.check()?;
    let workers = options.usable_workers(examples.len())?;
    let plan = BatchPlan::new(examples.len(), options.batch_size, workers);
    let mut replicas = Vec::new();
    for index in 0..workers {
        let device = context.devices.get(index % context.devices.len().max(1)).copied().unwrap_or(Device::Cpu);
        replicas.push(Worker::new(WorkerPlan {
            architecture: options.architecture,
            loss: options.loss,
            classes: state.classes.len(),
            alpha: options.fractional_probability_weight,
            size: options.size,
            mean: options.mean,
            std: options.std,
            device,
            seed: options.seed,
            threads: if workers == 1 { thread::available_parallelism().map_or(1, usize::from) } else { 1 },
        })?);
    }
    // A network of its own gives names and shapes back at the end.
    let template = Worker::new(WorkerPlan { device: Device::Cpu, ..replicas[0].plan() })?;
    let weights = template.network().weights();
    let (mut parameters, mut buffers, mut momentum) =
        tch::no_grad(|| Ok::<_, Error>((flatten(&weights.trainable())?, flatten(&weights.buffers())?, None)))?;
    if let Some(checkpoint) = resume {
        let fits = checkpoint.parameters.len() == parameters.numel() && checkpoint.buffers.len() == buffers.numel();
        if !fits || checkpoint.momentum.len() != checkpoint.parameters.len() {
            let path = context.checkpoint.map(Path::to_path_buf).unwrap_or_default();
            return Err(TrainError::Checkpoint { path, reason: "it belongs to another network".into() }.into());
        }
        parameters = Tensor::f_from_slice(&checkpoint.parameters)?;
        buffers = Tensor::f_from_slice(&checkpoint.buffers)?;
        momentum = Some(Tensor::f_from_slice(&checkpoint.momentum)?);
        state.history = checkpoint.state.history;
    }
    let device = replicas[0].plan().device;
    let momentum = momentum.map(|momentum| momentum.f_to_device(device)).transpose()?;
    let mut sgd = Sgd::new(parameters.f_to_device(device)?, momentum, options.sgd)?;
    let preparation = Preparation {
        augmentation: options.augmentation,
        target: options.size,
        fractional_probability: options.loss.fractional_probability(),
        seed: options.seed,
    };

    let classes = state.classes.len();
    let _one_thread = (workers > 1).then(OneThread::begin);
    Team::with(replicas, |scope, team| {
        for epoch in state.history.len()..options.epochs {
            let start = Instant::now();
            team.load(sgd.parameters(), &buffers)?;
            let (sender, batches) = bounded(BATCHES_AHEAD * workers);
            let loader = scope.spawn(move || load_epoch(examples, plan, preparation, epoch, &sender));
            let outcome = train_epoch(team, batches, &mut sgd, (epoch, &options, plan), context);
            // The steps give the batches up, so the loader ends, also after an error.
            let loaded = loader.join().map_err(|_| loader_gone());
            let (sums, factor) = outcome?;
            loaded?;
            let trained_in = start.elapsed().as_secs_f64();
            buffers = team.mean_buffers()?;
            team.load(sgd.parameters(), &buffers)?;
            let (validation_nll, validation_accuracy) =
                team.validate(validation.0, validation.1, options.size, classes)?;
            let record = EpochRecord {
                epoch: epoch + 1,
                learning_rate: options.sgd.learning_rate * factor,
                train_objective: sums.objective / sums.rows as f64,
                train_nll: sums.nll / sums.plain as f64,
                train_accuracy: sums.correct as f64 / sums.plain as f64,
                validation_nll,
                validation_accuracy,
                images_per_second: sums.rows as f64 / trained_in,
                seconds: start.elapsed().as_secs_f64(),
            };
            state.history.push(record);
            if let Some(path) = context.checkpoint {
                let (parameters, momentum) = (to_host(sgd.parameters())?, to_host(sgd.momentum())?);
                let buffers = to_host(&buffers)?;
                Checkpoint { state: state.clone(), parameters, momentum, buffers }.write(path)?;
            }
            (context.observe)(TrainEvent::Epoch(&record));
        }
        Ok(())
    })?;

    unflatten(&sgd.parameters().f_to_device(Device::Cpu)?, &weights.trainable())?;
    unflatten(&buffers.f_to_device(Device::Cpu)?, &weights.buffers())?;
    let weights = tch::no_grad(|| {
        weights.iter().map(|w| Ok((w.name.clone(), w.tensor.f_detach()?))).collect::<Result<HashMap<_, _>>>()
    })?;
    Ok(Trained { weights, history: state.history })
}

/// All steps of an epoch. Gives the sums of their figures and the last step's factor of the learning rate.
fn train_epoch(
    team: &Team,
    batches: Receiver<Result<TrainingBatch>>,
    sgd: &mut Sgd,
    (epoch, options, plan): (usize, &TrainOptions, BatchPlan),
    context: &mut TrainContext<'_>,
) -> Result<(Sums, f64)> {
    let device = sgd.parameters().device();
    let (mut sums, mut factor) = (Sums::default(), 0.0);
    for step in 0..plan.steps {
        context.cancel.check()?;
        let results = team.step(&batches, sgd.parameters())?;
        factor = options.schedule.factor(epoch * plan.steps + step, options.epochs * plan.steps);
        let rows: usize = results.iter().map(|result| result.rows).sum();
        let gradient = mean_gradient(&results, rows, device)?;
        tch::no_grad(|| sgd.step(&gradient, factor))?;
        let objective = sums.add(&results, rows);
        if !objective.is_finite() {
            let learning_rate = options.sgd.learning_rate;
            return Err(TrainError::Diverged { epoch: epoch + 1, learning_rate }.into());
        }
        let event = TrainEvent::Step { epoch: epoch + 1, step: step + 1, steps: plan.steps, rows, objective };
        (context.observe)(event);
    }
    Ok((sums, factor))
}

#[derive(Debug, Default)]
struct Sums {
    rows: usize,
    plain: usize,
    objective: f64,
    nll: f64,
    correct: i64,
}

impl Sums {
    /// Adds a step; gives its objective.
    fn add(&mut self, results: &[StepResult], rows: usize) -> f64 {
        let objective: f64 = results.iter().map(|result| result.objective * result.rows as f64).sum();
        self.rows += rows;
        self.plain += results.iter().map(|result| result.plain).sum::<usize>();
        self.objective += objective;
        self.nll += results.iter().map(|result| result.nll_sum).sum::<f64>();
        self.correct += results.iter().map(|result| result.correct).sum::<i64>();
        objective / rows as f64
    }
}

/// Mean over all rows, always summed in the workers' order so that a run repeats itself bit for bit.
fn mean_gradient(results: &[StepResult], rows: usize, device: Device) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for result in results {
        let part = result.gradient.f_to_device(device)?.f_mul_scalar(result.rows as f64 / rows as f64)?;
        sum = Some(match sum {
            None => part,
            Some(sum) => sum.f_add(&part)?,
        });
    }
    sum.ok_or_else(|| Error::Internal("a step without workers".into()))
}

/// Keeps this thread to one of libtorch's threads until it is dropped. The others would spin for a while after each of the optimiser's
/// small steps, on the cores that the workers need.
struct OneThread(i32);

impl OneThread {
    fn begin() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self(before)
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.0);
    }
}

fn worker_gone() -> Error {
    Error::Internal("a training worker ended unexpectedly".into())
}

fn loader_gone() -> Error {
    Error::Internal("the training loader ended unexpectedly".into())
}

/// The caller's ends of each worker's channels. A worker that panics closes its own, so that nobody waits for it.
struct Team {
    workers: Vec<(Sender<Command>, Receiver<Result<Answer>>)>,
}

impl Team {
    /// Runs `body` beside the workers, which end with it.
    fn with<'env>(
        workers: Vec<Worker>,
        body: impl for<'scope> FnOnce(&'scope thread::Scope<'scope, 'env>, &Self) -> Result<()>,
    ) -> Result<()> {
        thread::scope(|scope| {
            let (mut ends, mut threads) = (Vec::new(), Vec::new());
            for worker in workers {
                let (command_sender, commands) = bounded(1);
                let (answer_sender, answers) = bounded(1);
                threads.push(scope.spawn(move || worker.run(&commands, &answer_sender)));
                ends.push((command_sender, answers));
            }
            let team = Self { workers: ends };
            let outcome = body(scope, &team);
            drop(team);
            // Joined here, a panic is an error; left to the scope, it would be one of the caller's.
            let panicked = threads.into_iter().map(|thread| thread.join()).any(|joined| joined.is_err());
            outcome.and(if panicked { Err(worker_gone()) } else { Ok(()) })
        })
    }

    /// Sends one command to each of the first workers and gathers their answers in the workers' order.
    fn ask(&self, commands: Vec<Command>) -> Result<Vec<Answer>> {
        let count = commands.len();
        for ((worker, _), command) in self.workers.iter().zip(commands) {
            worker.send(command).map_err(|_| worker_gone())?;
        }
        // All answers are taken before one of them may fail: none must be left for the next question.
        let answers: Vec<_> = self.workers.iter().take(count).map(|(_, answers)| answers.recv()).collect();
        answers.into_iter().map(|answer| answer.map_err(|_| worker_gone())?).collect()
    }

    fn load(&self, parameters: &Tensor, buffers: &Tensor) -> Result<()> {
        let load = |_| Command::Load(parameters.shallow_clone(), buffers.shallow_clone());
        self.ask(self.workers.iter().map(load).collect()).map(|_| ())
    }

    fn step(&self, batches: &Receiver<Result<TrainingBatch>>, parameters: &Tensor) -> Result<Vec<StepResult>> {
        let mut commands = Vec::new();
        for _ in &self.workers {
            let batch = batches.recv().map_err(|_| loader_gone())??;
            // Workers only read the shared parameters, and all are done before the next step writes them.
            commands.push(Command::Step(batch, parameters.shallow_clone()));
        }
        let results = self.ask(commands)?.into_iter().map(|answer| match answer {
            Answer::Step(result) => Ok(result),
            other => Err(Error::Internal(format!("a training worker answered {other:?} to a step"))),
        });
        results.collect()
    }

    /// Mean of the workers' running statistics.
    fn mean_buffers(&self) -> Result<Tensor> {
        let mut all = Vec::new();
        for answer in self.ask(self.workers.iter().map(|_| Command::Buffers).collect())? {
            match answer {
                Answer::Buffers(buffers) => all.push(buffers.f_to_device(Device::Cpu)?),
                other => return Err(Error::Internal(format!("a training worker answered {other:?} to buffers"))),
            }
        }
        Ok(Tensor::f_stack(&all, 0)?.f_mean_dim([0i64].as_slice(), false, None)?)
    }

    /// Mean negative log-likelihood (nats, temperature 1) and accuracy on `rows`; not a number without rows.
    fn validate(
        &self,
        images: &LabelledImages,
        rows: &[usize],
        size: (u32, u32),
        classes: usize,
    ) -> Result<(f64, f64)> {
        let (mut nll, mut correct) = (0.0, 0usize);
        let pieces: Vec<&[usize]> = rows.chunks(EVALUATION_ROWS).collect();
        for round in pieces.chunks(self.workers.len()) {
            let mut commands = Vec::new();
            for piece in round {
                let mut pixels = Vec::with_capacity(piece.len() * images.image_bytes());
                for &row in *piece {
                    images.center_crop_into(row, size, &mut pixels)?;
                }
                commands.push(Command::Logits(pixels));
            }
            for (answer, piece) in self.ask(commands)?.into_iter().zip(round) {
                let Answer::Logits(logits) = answer else {
                    return Err(Error::Internal("a training worker did not answer with logits".into()));
                };
                for (logits, &row) in logits.chunks_exact(classes).zip(*piece) {
                    let label = images.labels.get(row).copied().unwrap_or(0) as usize;
                    nll += nll_of_row(logits, 1.0, label);
                    correct += usize::from(class_and_confidence(logits, 1.0).0 == label);
                }
            }
        }
        Ok((nll / rows.len() as f64, correct as f64 / rows.len() as f64))
    }
}
