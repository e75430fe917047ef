//! The workers of a cluster: which there are, which can take part, and why the others cannot.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datafusion::common::Result as PlanResult;
use datafusion_distributed::{GetWorkerInfoRequest, WorkerResolver};
use futures::future::join_all;
use tokio::time::timeout;
use url::Url;

use crate::channels::{Channels, shown, told};
use crate::error::{Error, Result};
use crate::info::{RELEASE, WorkerInfo};
use crate::work::Needed;

/// How long a worker may take to say what it is.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a worker that cannot do what is needed is not asked for it again.
const PAUSE: Duration = Duration::from_secs(60);
/// How long an answer is believed.
const FRESH: Duration = Duration::from_secs(2);

/// Workers by address.
#[derive(Debug)]
pub(crate) struct Workers {
    addresses: Vec<Url>,
    channels: Arc<Channels>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    present: BTreeMap<Url, WorkerInfo>,
    left_out: BTreeMap<Url, LeftOut>,
    /// By start of the worker.
    prepared: HashSet<(String, Needed)>,
    /// Arithmetic of the workers' networks. It does not change while the cluster is used: scores would.
    precision: Option<String>,
}

/// Why a worker does not take part.
#[derive(Debug)]
struct LeftOut {
    reason: String,
    /// The start of a worker that answers, and cannot do what is needed.
    start: Option<String>,
    since: Instant,
}

impl Workers {
    pub fn new(addresses: Vec<Url>, channels: Arc<Channels>) -> Self {
        Self { addresses, channels, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all workers what they are, unless they were asked just now and none was lost since.
    pub async fn look(&self) {
        let is_fresh = self.state().looked.is_some_and(|looked| looked.elapsed() < FRESH);
        if is_fresh && !self.channels.take_lost() {
            return;
        }
        let answers = join_all(self.addresses.iter().map(|worker| self.ask(worker))).await;
        // Those that did not answer are known now.
        self.channels.take_lost();
        let mut state = self.state();
        state.looked = Some(Instant::now());
        for (worker, answer) in self.addresses.iter().zip(answers) {
            match answer {
                Ok(info) if state.is_unfit(worker, &info) => {}
                Ok(info) => state.take_in(worker, info),
                Err(reason) => state.leave_out(worker, reason, None),
            }
        }
    }

    async fn ask(&self, worker: &Url) -> Result<WorkerInfo, String> {
        let mut client = self.channels.client(worker).map_err(|error| error.to_string())?;
        let answer = timeout(ANSWER, client.get_worker_info(GetWorkerInfoRequest {})).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", ANSWER.as_secs()))?;
        let answer = answer.map_err(|error| told(&error.into()))?;
        let other = || "it is no worker of this project, or of another release".to_owned();
        let info: WorkerInfo = serde_json::from_str(&answer.version).map_err(|_| other())?;
        match info.release == RELEASE {
            true => Ok(info),
            false => Err(format!("it is of release {}, not {RELEASE}", info.release)),
        }
    }

    /// Leaves a worker out until it is asked again.
    pub fn leave_out(&self, worker: &Url, reason: String) {
        let mut state = self.state();
        let start = state.present.get(worker).map(|info| info.start.clone());
        state.leave_out(worker, reason, start);
    }

    /// Leaves a worker out that was lost.
    pub fn lose(&self, worker: &Url, reason: String) {
        self.state().leave_out(worker, reason, None);
    }

    /// Leaves out those that cannot score with a model, and says which of the others have not prepared it.
    pub fn unprepared(&self, needed: &Needed) -> Vec<Url> {
        let mut state = self.state();
        let lacking =
            |(worker, info): (&Url, &WorkerInfo)| Some((worker.clone(), info.lacks(needed)?, Some(info.start.clone())));
        let lacking: Vec<_> = state.present.iter().filter_map(lacking).collect();
        for (worker, reason, start) in lacking {
            state.leave_out(&worker, reason, start);
        }
        let is_new = |info: &WorkerInfo| !state.prepared.contains(&(info.start.clone(), needed.clone()));
        state.present.iter().filter(|(_, info)| is_new(info)).map(|(worker, _)| worker.clone()).collect()
    }

    pub fn note_prepared(&self, worker: &Url, needed: &Needed) {
        let mut state = self.state();
        if let Some(start) = state.present.get(worker).map(|info| info.start.clone()) {
            state.prepared.insert((start, needed.clone()));
        }
        if state.left_out.remove(worker).is_some() {
            log::warn!("worker {} takes part again", shown(worker));
        }
    }

    /// Those that have prepared a model, in the order of their addresses.
    pub fn ready(&self, needed: &Needed) -> Vec<Url> {
        let state = self.state();
        let is_ready = |worker: &&Url| {
            let info = state.present.get(*worker);
            info.is_some_and(|info| state.prepared.contains(&(info.start.clone(), needed.clone())))
        };
        self.addresses.iter().filter(is_ready).cloned().collect()
    }

    /// Those that take part, in the order of their addresses.
    ///
    /// # Errors
    /// [`Error::NoWorkers`].
    pub fn present(&self) -> Result<Vec<Url>> {
        let state = self.state();
        let present: Vec<Url> =
            self.addresses.iter().filter(|worker| state.present.contains_key(worker)).cloned().collect();
        match present.is_empty() {
            false => Ok(present),
            true => Err(Error::NoWorkers { reasons: reasons(&state.left_out) }),
        }
    }

    /// Arithmetic of the workers' networks.
    ///
    /// # Errors
    /// As [`Self::present`].
    pub fn precision(&self) -> Result<String> {
        let state = self.state();
        state.precision.clone().ok_or_else(|| Error::NoWorkers { reasons: reasons(&state.left_out) })
    }
}

impl State {
    /// Whether a worker was left out for what it is or has, and is the same as then. After a while it is tried again.
    fn is_unfit(&self, worker: &Url, info: &WorkerInfo) -> bool {
        let out = self.left_out.get(worker);
        out.is_some_and(|out| out.start.as_ref() == Some(&info.start) && out.since.elapsed() < PAUSE)
    }

    /// It stays among those that were left out until it has prepared a model.
    fn take_in(&mut self, worker: &Url, info: WorkerInfo) {
        let precision = self.precision.get_or_insert_with(|| info.precision.clone());
        if *precision != info.precision {
            let reason = format!("it computes in {}, the others in {precision}", info.precision);
            return self.leave_out(worker, reason, Some(info.start));
        }
        self.present.insert(worker.clone(), info);
    }

    fn leave_out(&mut self, worker: &Url, reason: String, start: Option<String>) {
        self.present.remove(worker);
        let out = LeftOut { reason: reason.clone(), start, since: Instant::now() };
        let before = self.left_out.insert(worker.clone(), out);
        if before.is_none_or(|before| before.reason != reason) {
            log::warn!("worker {} is left out: {reason}", shown(worker));
        }
    }
}

fn reasons(left_out: &BTreeMap<Url, LeftOut>) -> String {
    let reasons = left_out.iter().map(|(worker, out)| format!("{}: {}", shown(worker), out.reason));
    reasons.collect::<Vec<_>>().join("; ")
}

/// The workers as datafusion-distributed takes them.
pub(crate) struct Present(pub Arc<Workers>);

impl WorkerResolver for Present {
    fn get_urls(&self) -> PlanResult<Vec<Url>> {
        let mut workers = self.0.present()?;
        // A plan for one is not cut, and would be carried out here.
        if let [only] = workers.as_slice() {
            workers.push(only.clone());
        }
        Ok(workers)
    }
}
