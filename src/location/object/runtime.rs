//! Waiting for requests from threads that know nothing of asynchronous code.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Threads that talk to servers: one request keeps none of them busy.
const THREADS: usize = 2;
/// How often whoever waits looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(50);

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let start = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("dismax-cloud").enable_all().build().map_err(|e| e.to_string())
    };
    RUNTIME
        .get_or_init(start)
        .as_ref()
        .map_err(|error| Error::Internal(format!("starting threads for requests: {error}")))
}

/// A request under way. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Pending<T> {
    answer: Receiver<T>,
    task: JoinHandle<()>,
}

impl<T: Send + 'static> Pending<T> {
    /// Begins it.
    pub fn start(request: impl Future<Output = T> + Send + 'static) -> Result<Self> {
        let (sender, answer) = bounded(1);
        let task = runtime()?.spawn(async move {
            // Nobody listens once it was given up.
            let _ = sender.send(request.await);
        });
        Ok(Self { answer, task })
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once `cancel` is set.
    pub fn wait(&self, cancel: &Cancel) -> Result<T> {
        loop {
            cancel.check()?;
            match self.answer.recv_timeout(PATIENCE) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Internal("a request ended without an answer".into()));
                }
            }
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Does work that itself waits for requests, on a thread that may be left behind.
///
/// # Errors
/// [`Error::Cancelled`] once `cancel` is set: the work goes on, and nobody waits for it.
#[cfg(feature = "delta")]
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static, cancel: &Cancel) -> Result<T> {
    // Only inside of the runtime can such a thread be had.
    wait(async { tokio::task::spawn_blocking(work).await }, cancel)?.map_err(|error| Error::Internal(error.to_string()))
}

/// Does a request and waits for it.
///
/// # Errors
/// [`Error::Cancelled`] once `cancel` is set: the request is given up.
pub(super) fn wait<T: Send + 'static>(request: impl Future<Output = T> + Send + 'static, cancel: &Cancel) -> Result<T> {
    Pending::start(request)?.wait(cancel)
}
