//! The workers of a cluster: which there are, which can take part, and why the others cannot.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datafusion::common::Result as PlanResult;
use datafusion_distributed::{GetWorkerInfoRequest, WorkerResolver};
use dismax_udfs::ModelName;
use futures::future::join_all;
use tokio::time::timeout;
use url::Url;

use crate::channels::{Channels, shown, told};
use crate::error::{Error, Result};
use crate::info::{RELEASE, WorkerInfo};

/// How long a worker may take to say what it is.
const ANSWER: Duration = Duration::from_secs(5);
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
    left_out: BTreeMap<Url, String>,
    /// By start of the worker and digest of the model.
    prepared: HashSet<(String, String)>,
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
                Ok(info) => state.take_in(worker, info),
                Err(reason) => state.leave_out(worker, reason),
            }
        }
        let first = self.addresses.iter().find_map(|worker| state.present.get(worker));
        let precision = first.map(|info| info.precision.clone());
        let others: Vec<(Url, String)> = state
            .present
            .iter()
            .filter(|(_, info)| Some(&info.precision) != precision.as_ref())
            .map(|(worker, info)| (worker.clone(), info.precision.clone()))
            .collect();
        for (worker, own) in others {
            let first = precision.as_deref().unwrap_or_default();
            state.leave_out(&worker, format!("it computes in {own}, the first worker in {first}"));
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
        self.state().leave_out(worker, reason);
    }

    /// Leaves out those that cannot score with a model, and says which of the others have not prepared it.
    pub fn unprepared(&self, model: &ModelName) -> Vec<Url> {
        let mut state = self.state();
        let lacking: Vec<(Url, String)> =
            state.present.iter().filter_map(|(worker, info)| Some((worker.clone(), info.lacks(model)?))).collect();
        for (worker, reason) in lacking {
            state.leave_out(&worker, reason);
        }
        let is_new = |info: &WorkerInfo| !state.prepared.contains(&(info.start.clone(), model.digest.clone()));
        state.present.iter().filter(|(_, info)| is_new(info)).map(|(worker, _)| worker.clone()).collect()
    }

    pub fn note_prepared(&self, worker: &Url, model: &ModelName) {
        let mut state = self.state();
        if let Some(start) = state.present.get(worker).map(|info| info.start.clone()) {
            state.prepared.insert((start, model.digest.clone()));
        }
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
    pub fn precision(&self) -> Option<String> {
        self.state().present.values().next().map(|info| info.precision.clone())
    }
}

impl State {
    fn take_in(&mut self, worker: &Url, info: WorkerInfo) {
        if self.left_out.remove(worker).is_some() {
            log::warn!("worker {} takes part again", shown(worker));
        }
        self.present.insert(worker.clone(), info);
    }

    fn leave_out(&mut self, worker: &Url, reason: String) {
        self.present.remove(worker);
        let before = self.left_out.insert(worker.clone(), reason.clone());
        if before.as_ref() != Some(&reason) {
            log::warn!("worker {} is left out: {reason}", shown(worker));
        }
    }
}

fn reasons(left_out: &BTreeMap<Url, String>) -> String {
    let reasons = left_out.iter().map(|(worker, reason)| format!("{}: {reason}", shown(worker)));
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
