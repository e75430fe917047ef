//! The workers of a training, seen from the thread that takes the steps.

use std::ops::Range;
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use dismax::error::{Error, Result};
use dismax::score::{class_and_confidence, nll_of_row};
use tch::{Device, Tensor};

use super::data::LabelledImages;
use super::loader::TrainingBatch;
use super::replica::{Command, Replica, Reply, StepResult};
use super::session::loader_gone;

/// Mean `[Q]` of the running statistics of several places, on the CPU.
pub(super) fn mean_buffers(buffers: &[Tensor]) -> Result<Tensor> {
    let all = buffers.iter().map(|buffers| Ok(buffers.f_to_device(Device::Cpu)?)).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_stack(&all, 0)?.f_mean_dim([0i64].as_slice(), false, None)?)
}

/// Images of a validation batch.
const VALIDATION_ROWS: usize = 128;

fn worker_gone() -> Error {
    Error::Internal("a training worker ended unexpectedly".into())
}

/// The caller's ends of each worker's channels. A worker that panics closes its own, so that nobody waits for it.
pub(super) struct Team {
    workers: Vec<(Sender<Command>, Receiver<Result<Reply>>)>,
    ghosts: usize,
}

impl Team {
    /// Runs `body` while the workers run; they end with it. Each step has so many ghost batches.
    pub(super) fn with<'env>(
        workers: Vec<Replica>,
        ghosts: usize,
        body: impl for<'scope> FnOnce(&'scope thread::Scope<'scope, 'env>, &Self) -> Result<()>,
    ) -> Result<()> {
        thread::scope(|scope| {
            let (mut ends, mut threads) = (Vec::new(), Vec::new());
            for worker in workers {
                let (command_sender, commands) = bounded(1);
                let (reply_sender, replies) = bounded(1);
                threads.push(scope.spawn(move || worker.run(&commands, &reply_sender)));
                ends.push((command_sender, replies));
            }
            let team = Self { workers: ends, ghosts };
            let outcome = body(scope, &team);
            drop(team);
            // Joined here, a panic is an error; left to the scope, it would be one of the caller's.
            let panicked = threads.into_iter().map(|thread| thread.join()).any(|joined| joined.is_err());
            outcome.and(if panicked { Err(worker_gone()) } else { Ok(()) })
        })
    }

    /// Sends one command to each of the first workers and collects their replies in the workers' order.
    fn call(&self, commands: Vec<Command>) -> Result<Vec<Reply>> {
        let count = commands.len();
        for ((worker, _), command) in self.workers.iter().zip(commands) {
            worker.send(command).map_err(|_| worker_gone())?;
        }
        // All replies are taken before one of them may fail: none must be left for the next call.
        let replies: Vec<_> = self.workers.iter().take(count).map(|(_, replies)| replies.recv()).collect();
        replies.into_iter().map(|reply| reply.map_err(|_| worker_gone())?).collect()
    }

    /// Gives all workers these parameters and running statistics.
    pub(super) fn load(&self, parameters: &Tensor, buffers: &Tensor) -> Result<()> {
        let load = |_| Command::Load(parameters.shallow_clone(), buffers.shallow_clone());
        self.call(self.workers.iter().map(load).collect()).map(|_| ())
    }

    /// Has the gradients of the next step's ghost batches computed. `buffers` are the running statistics of each place
    /// in a step, and become those after it: which worker computes what changes nothing.
    pub(super) fn step(
        &self,
        batches: &Receiver<Result<TrainingBatch>>,
        parameters: &Tensor,
        buffers: &mut [Tensor],
    ) -> Result<Vec<StepResult>> {
        let mut results = Vec::with_capacity(self.ghosts);
        for places in buffers.chunks_mut(self.workers.len()) {
            let mut commands = Vec::with_capacity(places.len());
            for place in places.iter() {
                let batch = batches.recv().map_err(|_| loader_gone())??;
                // Workers only read what they share, and all are done before the next step writes it.
                commands.push(Command::Step(batch, parameters.shallow_clone(), place.shallow_clone()));
            }
            for (reply, place) in self.call(commands)?.into_iter().zip(places) {
                let result = reply.step().expect("workers reply to a step with its result");
                *place = result.buffers.shallow_clone();
                results.push(result);
            }
        }
        Ok(results)
    }

    /// The same running statistics for each place in a step.
    pub(super) fn spread(&self, buffers: &Tensor) -> Vec<Tensor> {
        (0..self.ghosts).map(|_| buffers.shallow_clone()).collect()
    }

    /// Mean negative log-likelihood (nats, temperature 1) and accuracy on `images`.
    pub(super) fn validate(&self, images: &LabelledImages, size: (u32, u32), classes: usize) -> Result<(f64, f64)> {
        let (mut nll, mut correct) = (0.0, 0usize);
        let batches: Vec<Range<usize>> = (0..images.len())
            .step_by(VALIDATION_ROWS)
            .map(|start| start..images.len().min(start + VALIDATION_ROWS))
            .collect();
        for round in batches.chunks(self.workers.len()) {
            let commands = round.iter().map(|rows| Command::Logits(images.center_crops(rows.clone(), size)));
            for (reply, rows) in self.call(commands.collect())?.into_iter().zip(round) {
                let logits = reply.logits().expect("workers reply to Logits with logits");
                for (logits, &label) in logits.chunks_exact(classes).zip(&images.labels[rows.clone()]) {
                    nll += nll_of_row(logits, 1.0, label as usize);
                    correct += usize::from(class_and_confidence(logits, 1.0).0 == label as usize);
                }
            }
        }
        Ok((nll / images.len() as f64, correct as f64 / images.len() as f64))
    }
}
