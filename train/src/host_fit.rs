//! The training loop of a CPU, and of several replicas on one GPU: workers compute gradients, one thread takes the
//! steps.

use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};
use dismax::error::Result;
use dismax::model::EpochRecord;
use dismax::run::Run;
use tch::{Device, Tensor};

use super::average::Average;
use super::checkpoint::{Checkpoint, CheckpointWriter, TrainingState, to_host};
use super::error::TrainError;
use super::job::TrainEvent;
use super::keep::is_best_so_far;
use super::loader::{BatchPlan, Preparation, TrainingBatch, load_epoch};
use super::metrics_file::write_metrics;
use super::optimizer::{Sgd, flatten};
use super::options::TrainOptions;
use super::replica::{Replica, ReplicaPlan, StepResult};
use super::session::{Inputs, Trained, loader_gone, progress, read_checkpoint};
use super::snapshot::Snapshot;
use super::team::{Team, mean_buffers};

/// Batches made ahead, in steps.
const BATCHES_AHEAD: usize = 2;

/// Trains from the beginning, or from `resume`, to the last epoch of `state.options`.
///
/// # Errors
/// Too few rows for a batch, [`dismax::Error::Cancelled`] after a stop, and whatever reading, libtorch or writing the
/// checkpoint give.
pub(super) fn fit_on_host(
    inputs: &Inputs<'_>,
    mut state: TrainingState,
    resume: Option<Checkpoint>,
    run: &mut Run<'_>,
    events: &mut dyn FnMut(TrainEvent<'_>),
) -> Result<Trained> {
    let options = state.options.clone();
    let ghosts = options.ghosts(inputs.examples.len())?;
    let workers = options.workers.min(ghosts);
    let plan = BatchPlan::new(inputs.examples.len(), options.batch_size, ghosts);
    let replica_plan = replica_plan(&options, state.classes.len(), inputs);
    let replicas = (0..workers).map(|_| Replica::try_new(replica_plan.clone())).collect::<Result<Vec<_>>>()?;
    // A network of its own gives names and shapes back at the end.
    let template = Replica::try_new(ReplicaPlan { device: Device::Cpu, ..replica_plan })?;
    inputs.begin(template.network())?;
    let (mut sgd, mut buffers) = starting_point(&template, resume.as_ref(), &options, inputs)?;
    let mut best = None;
    let finished_steps = resume.as_ref().map_or(0, |checkpoint| checkpoint.state.history.len()) * plan.steps;
    let kept = resume.as_ref().and_then(|checkpoint| checkpoint.average.as_ref());
    let mut average = starting_average(&options, &sgd, &buffers, kept.map(|kept| (kept, finished_steps)))?;
    if let Some(checkpoint) = resume {
        (state.history, best) = (checkpoint.state.history, checkpoint.best);
    }
    let preparation =
        Preparation { augmentation: options.augmentation, target: options.size, mixed_share: 0.0, seed: options.seed };
    let classes = state.classes.len();
    let mut checkpoints = CheckpointWriter::new(inputs.checkpoint, Duration::ZERO);
    let _one_thread = OneThread::begin();
    Team::with(replicas, ghosts, |scope, team| {
        for epoch in state.history.len()..options.epochs {
            let start = Instant::now();
            team.load(sgd.parameters(), &buffers)?;
            let (sender, batches) = bounded(BATCHES_AHEAD * ghosts);
            let examples = inputs.examples;
            let preparation = Preparation { mixed_share: options.mixed_share(epoch), ..preparation };
            let loader = scope.spawn(move || load_epoch(examples, plan, preparation, (epoch, 1), &sender));
            let mut places = team.spread(&buffers);
            let outcome =
                take_steps(team, batches, (&mut sgd, &mut places, average.as_mut()), (epoch, &options, plan), run);
            // The steps give the batches up, so the loader ends, also after an error.
            let loaded = loader.join().map_err(|_| loader_gone());
            let (sums, factor) = outcome?;
            loaded?;
            let trained_in = start.elapsed().as_secs_f64();
            buffers = mean_buffers(&places)?;
            let measured = measured(&average, &sgd, &buffers);
            team.load(measured.0, measured.1)?;
            let (validation_nll, validation_accuracy) = team.validate(inputs.held_out, options.size, classes)?;
            let selection = inputs.selection.map(|rows| team.validate(rows, options.size, classes)).transpose()?;
            let record = EpochRecord {
                epoch: epoch + 1,
                learning_rate: options.sgd.learning_rate * factor,
                train_objective: sums.objective / sums.rows as f64,
                train_nll: sums.nll / sums.plain as f64,
                train_accuracy: sums.correct as f64 / sums.plain as f64,
                validation_nll,
                validation_accuracy,
                selection_accuracy: selection.map(|(_, accuracy)| accuracy),
                images_per_second: sums.rows as f64 / trained_in,
                seconds: start.elapsed().as_secs_f64(),
            };
            state.history.push(record);
            write_metrics(inputs.metrics, &state.history)?;
            if is_best_so_far(&state.history) {
                best = Some(snapshot(measured)?);
            }
            checkpoints.offer(|| checkpoint(&state, (&sgd, &buffers), &best, &average))?;
            events(TrainEvent::Epoch(&record));
        }
        Ok(())
    })?;
    checkpoints.wait()?;
    let kept = best.map_or_else(|| snapshot(measured(&average, &sgd, &buffers)), Ok)?;
    Ok(Trained { weights: kept.named(template.network().weights())?, history: state.history })
}

fn replica_plan(options: &TrainOptions, classes: usize, inputs: &Inputs<'_>) -> ReplicaPlan {
    ReplicaPlan {
        architecture: options.architecture,
        objective: options.objective(inputs.class_weights.clone()),
        classes,
        size: options.size,
        mean: options.mean,
        std: options.std,
        device: inputs.device,
        seed: options.seed,
    }
}

/// The optimiser and the running statistics `[Q]` of new weights, or those of a checkpoint.
fn starting_point(
    template: &Replica,
    resume: Option<&Checkpoint>,
    options: &TrainOptions,
    inputs: &Inputs<'_>,
) -> Result<(Sgd, Tensor)> {
    let weights = template.network().weights();
    let (mut parameters, mut buffers) =
        tch::no_grad(|| -> Result<_> { Ok((flatten(&weights.trainable())?, flatten(&weights.buffers())?)) })?;
    let mut momentum = None;
    if let Some(checkpoint) = resume {
        let counts = [parameters.numel(), buffers.numel()];
        let [read, direction, statistics] = read_checkpoint(checkpoint, counts, inputs.checkpoint)?;
        (parameters, buffers) = (read, statistics);
        momentum = Some(direction.f_to_device(inputs.device)?);
    }
    let head = template.network().head_parameters() as i64;
    Ok((Sgd::try_new(parameters.f_to_device(inputs.device)?, momentum, options.sgd, head)?, buffers))
}

/// The average of the weights, if the options ask for one: of `kept` after so many steps, or of the first weights.
fn starting_average(
    options: &TrainOptions,
    sgd: &Sgd,
    buffers: &Tensor,
    kept: Option<(&Snapshot, usize)>,
) -> Result<Option<Average>> {
    let Some(decay) = options.ema else { return Ok(None) };
    let mut average = Average::try_new(sgd.parameters(), buffers, decay)?;
    if let Some((kept, steps)) = kept {
        average.restore(&Tensor::f_from_slice(&kept.parameters)?, &Tensor::f_from_slice(&kept.buffers)?, steps)?;
    }
    Ok(Some(average))
}

/// The weights that are measured and kept: averaged ones where there are.
fn measured<'a>(average: &'a Option<Average>, sgd: &'a Sgd, buffers: &'a Tensor) -> (&'a Tensor, &'a Tensor) {
    average.as_ref().map_or((sgd.parameters(), buffers), |average| (average.parameters(), average.buffers()))
}

fn checkpoint(
    state: &TrainingState,
    (sgd, buffers): (&Sgd, &Tensor),
    best: &Option<Snapshot>,
    average: &Option<Average>,
) -> Result<Checkpoint> {
    let Snapshot { parameters, buffers } = snapshot((sgd.parameters(), buffers))?;
    let average = average.as_ref().map(|average| snapshot((average.parameters(), average.buffers()))).transpose()?;
    let momentum = to_host(sgd.momentum())?;
    Ok(Checkpoint { state: state.clone(), parameters, momentum, buffers, best: best.clone(), average })
}

fn snapshot((parameters, buffers): (&Tensor, &Tensor)) -> Result<Snapshot> {
    Ok(Snapshot { parameters: to_host(parameters)?, buffers: to_host(buffers)? })
}

/// Takes all steps of an epoch. Returns the sums of their figures and the last step's factor of the learning rate.
fn take_steps(
    team: &Team,
    batches: Receiver<Result<TrainingBatch>>,
    (sgd, places, mut average): (&mut Sgd, &mut [Tensor], Option<&mut Average>),
    (epoch, options, plan): (usize, &TrainOptions, BatchPlan),
    run: &mut Run<'_>,
) -> Result<(EpochSums, f64)> {
    let device = sgd.parameters().device();
    let (mut sums, mut factor) = (EpochSums::default(), 0.0);
    for step in 0..plan.steps {
        run.report(progress(epoch * plan.rows + sums.rows, options.epochs * plan.rows))?;
        let results = team.step(&batches, sgd.parameters(), places)?;
        factor = options.schedule.factor(epoch * plan.steps + step, options.epochs * plan.steps);
        let rows: usize = results.iter().map(|result| result.rows).sum();
        let gradient = mean_gradient(&results, rows, device)?;
        tch::no_grad(|| sgd.step(&gradient, factor))?;
        if let Some(average) = &mut average {
            average.update(sgd.parameters(), &mean_buffers(places)?)?;
        }
        let objective = sums.add(&results, rows);
        if !objective.is_finite() {
            let learning_rate = options.sgd.learning_rate;
            return Err(TrainError::Diverged { epoch: epoch + 1, learning_rate }.into());
        }
    }
    Ok((sums, factor))
}

/// Figures of an epoch, summed over its rows.
#[derive(Debug, Default)]
struct EpochSums {
    rows: usize,
    plain: usize,
    objective: f64,
    nll: f64,
    correct: i64,
}

impl EpochSums {
    /// Adds a step and returns its objective.
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

/// Mean over all rows, always summed in the order of the ghost batches so that runs repeat bit for bit.
fn mean_gradient(results: &[StepResult], rows: usize, device: Device) -> Result<Tensor> {
    let part = |result: &StepResult| -> Result<Tensor> {
        Ok(result.gradient.f_to_device(device)?.f_mul_scalar(result.rows as f64 / rows as f64)?)
    };
    let (first, others) = results.split_first().expect("a step has at least one ghost batch");
    others.iter().try_fold(part(first)?, |sum, result| Ok(sum.f_add(&part(result)?)?))
}

/// Limits libtorch to one thread on this thread until it is dropped. Its other threads would spin for a while after
/// each of the optimiser's small steps, on the cores that the workers need.
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
