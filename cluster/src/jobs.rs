//! Numbered pieces of a job, each done by a worker: those of a worker that is lost go to another one.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, pending};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use url::Url;

use crate::channels::{is_lost, shown, told};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::work::{Answer, Needed, Work};

/// Pieces that a worker has at once: it reads the next while it ends the last.
const AT_ONCE: usize = 2;
/// How often a piece may fail on workers that live, or lose its worker.
const TRIES: usize = 3;
const LOSSES: usize = 8;
/// How long a worker is spared on which so many pieces failed in a row, while there are others.
const PAUSE: Duration = Duration::from_secs(30);
/// How long a job waits where no worker is left.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often it looks for workers, for Ctrl-C and at the clock.
const TICK: Duration = Duration::from_millis(200);

/// A job in pieces.
pub(crate) trait Job {
    /// The work of a piece.
    fn work(&self, piece: usize) -> Result<Work>;
    /// What messages call it.
    fn name(&self, piece: usize) -> String;
    /// Whether it may begin: answers of later pieces may have to wait for those of earlier ones.
    fn may_begin(&self, piece: usize) -> bool;
    /// A worker says something about a piece.
    fn take(&mut self, piece: usize, answer: Answer);
    /// A piece begins once more: what was said about it does not count.
    fn forget(&mut self, piece: usize);
    /// A worker has ended with a piece.
    fn done(&mut self, piece: usize) -> Result<()>;
    /// Time passes. An error ends the job.
    fn tick(&mut self) -> Result<()>;
}

/// Has workers do `count` pieces of a job, several at a time.
pub(crate) async fn carry_out(cluster: &Cluster, needed: &Needed, count: usize, job: &mut impl Job) -> Result<()> {
    let mut hands = Hands {
        cluster,
        needed,
        waiting: (0..count).collect(),
        running: FuturesUnordered::new(),
        at: HashMap::new(),
        failed: HashMap::new(),
        troubles: HashMap::new(),
        idle: None,
    };
    let (tell, mut told) = unbounded_channel();
    let mut tick = tokio::time::interval(TICK);
    // Beside the work: a machine that hangs takes seconds to be given up, and a model takes its time to load.
    let mut looking: Option<BoxFuture<'_, Result<()>>> = None;
    while !hands.waiting.is_empty() || !hands.running.is_empty() {
        hands.hand_out(job, &tell)?;
        let looked = async {
            match &mut looking {
                Some(looking) => looking.await,
                None => pending().await,
            }
        };
        tokio::select! {
            // What a worker said comes before its end.
            biased;
            Some((piece, answer)) = told.recv() => job.take(piece, answer),
            Some((piece, worker, ended)) = hands.running.next() => {
                while let Ok((piece, answer)) = told.try_recv() {
                    job.take(piece, answer);
                }
                hands.ended(job, piece, &worker, ended)?;
            }
            found = looked => {
                looking = None;
                hands.found(found)?;
            }
            _ = tick.tick() => {
                job.tick()?;
                if looking.is_none() && !hands.waiting.is_empty() {
                    looking = Some(Box::pin(cluster.prepare(std::slice::from_ref(needed))));
                }
            }
        }
    }
    job.tick()
}

/// How a worker ended with a piece.
enum Ended {
    Done,
    Failed { reason: String, elsewhere: bool },
    Lost(String),
}

/// What happened to a piece.
#[derive(Default)]
struct Failures {
    /// Workers on which it failed.
    on: Vec<Url>,
    /// How often its worker was lost.
    losses: usize,
}

/// The workers while they work.
struct Hands<'a> {
    cluster: &'a Cluster,
    needed: &'a Needed,
    waiting: VecDeque<usize>,
    running: FuturesUnordered<BoxFuture<'a, (usize, Url, Ended)>>,
    /// Pieces that each worker has.
    at: HashMap<Url, usize>,
    failed: HashMap<usize, Failures>,
    /// How many pieces in a row failed on each worker, and since when.
    troubles: HashMap<Url, (usize, Instant)>,
    /// Since when there is no worker.
    idle: Option<Instant>,
}

impl Hands<'_> {
    /// Gives pieces that wait to workers that have room.
    fn hand_out(&mut self, job: &impl Job, tell: &UnboundedSender<(usize, Answer)>) -> Result<()> {
        let present = self.cluster.workers().ready(self.needed);
        while let Some(piece) = self.waiting.front().copied().filter(|piece| job.may_begin(*piece)) {
            let Some(worker) = self.free_for(piece, &present) else { break };
            self.waiting.pop_front();
            *self.at.entry(worker.clone()).or_default() += 1;
            let asked = ask(self.cluster, worker, piece, job.work(piece)?, tell.clone());
            self.running.push(Box::pin(asked));
        }
        Ok(())
    }

    /// The worker with the most room for a piece: none on which it failed, or all pieces do, unless there is no other.
    fn free_for(&self, piece: usize, present: &[Url]) -> Option<Url> {
        let busy = |worker: &&Url| self.at.get(*worker).copied().unwrap_or_default();
        let failed = self.failed.get(&piece).map(|failures| failures.on.as_slice()).unwrap_or_default();
        let is_in_trouble = |worker: &Url| {
            let trouble = self.troubles.get(worker);
            trouble.is_some_and(|(count, since)| *count >= TRIES && since.elapsed() < PAUSE)
        };
        let good: Vec<&Url> =
            present.iter().filter(|worker| !failed.contains(worker) && !is_in_trouble(worker)).collect();
        let among = if good.is_empty() { present.iter().collect() } else { good };
        among.into_iter().min_by_key(busy).filter(|worker| busy(worker) < AT_ONCE).cloned()
    }

    fn ended(&mut self, job: &mut impl Job, piece: usize, worker: &Url, ended: Ended) -> Result<()> {
        self.at.entry(worker.clone()).and_modify(|count| *count -= 1);
        let failures = self.failed.entry(piece).or_default();
        let (reason, may_go_on) = match ended {
            Ended::Done => {
                self.troubles.remove(worker);
                return job.done(piece);
            }
            Ended::Failed { reason, elsewhere } => {
                failures.on.push(worker.clone());
                let trouble = self.troubles.entry(worker.clone()).or_insert((0, Instant::now()));
                *trouble = (trouble.0 + 1, Instant::now());
                (reason, elsewhere && failures.on.len() < TRIES)
            }
            Ended::Lost(reason) => {
                failures.losses += 1;
                self.cluster.workers().lose(worker, reason.clone());
                (reason, failures.losses < LOSSES)
            }
        };
        if !may_go_on {
            return Err(Error::Piece { piece: job.name(piece), worker: shown(worker), reason });
        }
        log::warn!("{} is given to another worker than {}: {reason}", job.name(piece), shown(worker));
        job.forget(piece);
        // Answers may have to come in order.
        self.waiting.push_front(piece);
        Ok(())
    }

    /// All workers were asked after, those that were lost as well.
    fn found(&mut self, found: Result<()>) -> Result<()> {
        match found {
            Ok(()) => self.idle = None,
            Err(error) if self.running.is_empty() => {
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
    piece: usize,
    work: Work,
    tell: UnboundedSender<(usize, Answer)>,
) -> (usize, Url, Ended) {
    let (mut failed, mut said) = (None, false);
    let mut take = |answer| {
        match answer {
            Answer::Failed { reason, elsewhere } => failed = Some(Ended::Failed { reason, elsewhere }),
            Answer::End => said = true,
            // Nobody listens once the job has ended.
            answer => drop(tell.send((piece, answer))),
        }
    };
    let asked = cluster.carry_out(&worker, work, &mut take).await;
    let ended = match (failed, asked) {
        (Some(failed), _) => failed,
        (None, Ok(())) if said => Ended::Done,
        (None, Ok(())) => Ended::Lost("it ended without an answer".into()),
        (None, Err(Error::Query(error))) if !is_lost(&error) => {
            Ended::Failed { reason: error.find_root().to_string(), elsewhere: true }
        }
        (None, Err(error)) => Ended::Lost(told(&error)),
    };
    (piece, worker, ended)
}
