//! A dataset into a folder of parts, each written by a worker.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dismax::dataset::{Dataset, LoadOptions};
use dismax::model::Model;
use dismax::run::{Progress, Run};
use dismax::score_file::{PartCounts, PartOptions, PartsRun, PartsSettings, ScoreOptions, ScoreSummary};
use dismax::{Columns, Error as CoreError};
use dismax_udfs::ModelName;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use url::Url;

use crate::channels::{is_lost, shown, told};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::work::{Answer, Part, Work};

/// Parts that a worker has at once: it reads the next while it ends the last.
const AT_ONCE: usize = 2;
/// How often a part may fail on workers that live, or lose its worker.
const TRIES: usize = 3;
const LOSSES: usize = 8;
/// How long a run waits where no worker is left.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often it looks for workers, for Ctrl-C and at the clock.
const TICK: Duration = Duration::from_millis(200);

/// Scores `dataset` into the folder `target` as [`dismax::score_file::score_to_parts`] does, with the same bytes, on
/// workers. Inputs and folder must be places that the workers reach under the same names.
///
/// A part whose worker is lost is given to another one, and a worker that comes back is used again. Where no worker is
/// left, the run waits ten minutes for one. What is written stays; the next run goes on from it.
///
/// # Errors
/// As [`dismax::score_file::score_to_parts`]; [`Error::NoWorkers`]; [`Error::Part`] for a part that no worker can do.
pub async fn score_to_parts(
    cluster: &Cluster,
    model: (&str, &Model),
    dataset: &Dataset,
    target: &str,
    load: (Option<&str>, LoadOptions),
    options: &ScoreOptions,
    run: &mut Run<'_>,
) -> Result<ScoreSummary> {
    let (name, model) =
        (ModelName { name: model.0.into(), digest: model.1.digest().into() }, Arc::new(model.1.clone()));
    let (image, load) = load;
    let mut columns = Columns::of_model(&model, &options.prefix)?;
    if let Some(alpha) = options.alpha {
        columns = columns.with_alpha(alpha)?;
    }
    load.require_paths(&dataset.image_column(image)?)?;
    columns.schema(dataset.schema())?;
    cluster.prepare(std::slice::from_ref(&name)).await?;
    let precision = cluster.workers().precision().unwrap_or_default();
    let settings =
        PartsSettings { model_digest: &name.digest, alpha: columns.alpha(), load, image, precision: &precision };
    let parts = PartsRun::begin(dataset, target, &settings, options, run)?;
    let asked = PartOptions {
        prefix: options.prefix.clone(),
        alpha: columns.alpha(),
        on_error: options.on_error,
        image: image.map(str::to_owned),
        max_pixels: load.limits.max_pixels,
    };
    let waiting = (0..parts.len()).collect();
    let mut job = Job { cluster, name: &name, asked, options, parts, waiting, failed: HashMap::new(), idle: None };
    let outcome = job.carry_out(run).await;
    // What is complete is noted, also when the run ends early.
    let written = job.parts.finish(options);
    outcome?;
    written?;
    Ok(job.parts.score_summary(&settings, columns.score(), target))
}

/// A run in progress.
struct Job<'a> {
    cluster: &'a Cluster,
    name: &'a ModelName,
    asked: PartOptions,
    options: &'a ScoreOptions,
    parts: PartsRun,
    waiting: VecDeque<usize>,
    /// How often a part failed, and how often its worker was lost.
    failed: HashMap<usize, (usize, usize)>,
    /// Since when there is no worker.
    idle: Option<Instant>,
}

/// How a worker ended with a part.
enum Ended {
    Done(PartCounts),
    Failed { reason: String, elsewhere: bool },
    Lost(String),
}

type Running<'a> = FuturesUnordered<BoxFuture<'a, (usize, Url, Ended)>>;

impl<'a> Job<'a> {
    async fn carry_out(&mut self, run: &mut Run<'_>) -> Result<()> {
        let mut running: Running<'a> = FuturesUnordered::new();
        let mut at: HashMap<Url, usize> = HashMap::new();
        let mut under_way: HashMap<usize, (u64, u64)> = HashMap::new();
        let (tell, mut told) = unbounded_channel();
        let mut tick = tokio::time::interval(TICK);
        while !self.waiting.is_empty() || !running.is_empty() {
            self.hand_out(&mut running, &mut at, &tell)?;
            tokio::select! {
                Some((part, worker, ended)) = running.next() => {
                    under_way.remove(&part);
                    at.entry(worker.clone()).and_modify(|count| *count -= 1);
                    self.ended(part, &worker, ended)?;
                }
                Some((part, progress)) = told.recv() => drop(under_way.insert(part, progress)),
                _ = tick.tick() => {
                    run.cancel.check()?;
                    let (rows, failed) = self.parts.progress();
                    let (rows, failed) =
                        under_way.values().fold((rows, failed), |sum, part| (sum.0 + part.0, sum.1 + part.1));
                    run.report(Progress { task: "scoring", rows, of: self.parts.dataset().rows(), failed })?;
                    if !self.waiting.is_empty() {
                        self.look_for_workers(running.is_empty()).await?;
                    }
                }
            }
        }
        let (rows, failed) = self.parts.progress();
        Ok(run.report(Progress { task: "scoring", rows, of: self.parts.dataset().rows(), failed })?)
    }

    /// Gives parts that wait to workers that have room.
    fn hand_out(
        &mut self,
        running: &mut Running<'a>,
        at: &mut HashMap<Url, usize>,
        tell: &UnboundedSender<(usize, (u64, u64))>,
    ) -> Result<()> {
        let present = self.cluster.workers().present().unwrap_or_default();
        loop {
            let free = present.iter().min_by_key(|worker| at.get(worker).copied().unwrap_or_default());
            let Some(worker) = free.filter(|worker| at.get(worker).copied().unwrap_or_default() < AT_ONCE) else {
                return Ok(());
            };
            let Some(part) = self.waiting.pop_front() else { return Ok(()) };
            *at.entry(worker.clone()).or_default() += 1;
            let work = Part {
                model: self.name.digest.clone(),
                dataset: self.parts.dataset_of(part).to_portable()?,
                target: absolute(&self.parts.target_of(part))?,
                options: self.asked.clone(),
            };
            running.push(Box::pin(ask(self.cluster, worker.clone(), part, work, tell.clone())));
        }
    }

    fn ended(&mut self, part: usize, worker: &Url, ended: Ended) -> Result<()> {
        let failed = self.failed.entry(part).or_default();
        let (reason, may_go_on) = match ended {
            Ended::Done(counts) => return Ok(self.parts.done(part, counts, self.options)?),
            Ended::Failed { reason, elsewhere } => {
                failed.0 += 1;
                (reason, elsewhere && failed.0 < TRIES)
            }
            Ended::Lost(reason) => {
                failed.1 += 1;
                self.cluster.workers().leave_out(worker, reason.clone());
                (reason, failed.1 < LOSSES)
            }
        };
        let name = self.parts.name_of(part).to_owned();
        if !may_go_on {
            return Err(Error::Part { part: name, worker: shown(worker), reason });
        }
        log::warn!("{name} is given to another worker: {reason} ({})", shown(worker));
        self.waiting.push_back(part);
        Ok(())
    }

    async fn look_for_workers(&mut self, nothing_runs: bool) -> Result<()> {
        match self.cluster.prepare(std::slice::from_ref(self.name)).await {
            Ok(()) => self.idle = None,
            Err(error) if nothing_runs => {
                let since = *self.idle.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error);
                }
            }
            Err(_) => {}
        }
        Ok(())
    }
}

async fn ask(
    cluster: &Cluster,
    worker: Url,
    part: usize,
    work: Part,
    tell: UnboundedSender<(usize, (u64, u64))>,
) -> (usize, Url, Ended) {
    let mut ended = None;
    let asked = cluster
        .carry_out(&worker, Work::Part(Box::new(work)), &mut |answer| match answer {
            // Nobody listens once the run has ended.
            Answer::Progress { rows, failed } => drop(tell.send((part, (rows, failed)))),
            Answer::Part(counts) => ended = Some(Ended::Done(counts)),
            Answer::Failed { reason, elsewhere } => ended = Some(Ended::Failed { reason, elsewhere }),
        })
        .await;
    let ended = match (ended, asked) {
        (Some(ended), _) => ended,
        (None, Ok(())) => Ended::Lost("it ended without an answer".into()),
        (None, Err(Error::Query(error))) if !is_lost(&error) => {
            Ended::Failed { reason: error.find_root().to_string(), elsewhere: true }
        }
        (None, Err(error)) => Ended::Lost(told(&error)),
    };
    (part, worker, ended)
}

/// A name that means the same to the workers.
fn absolute(target: &str) -> Result<String> {
    if dismax::location::is_remote(target) {
        return Ok(target.to_owned());
    }
    let path = std::path::absolute(target).map_err(|source| CoreError::Io { path: target.into(), source })?;
    match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => Err(Error::Config(format!("{target}: its name is no UTF-8, so that no worker can be told of it"))),
    }
}
