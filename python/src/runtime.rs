//! Waiting without the interpreter's lock: for queries, and for work that reports how far it is.

use std::pin::pin;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{RecvTimeoutError, unbounded};
use dismax::cancel::Cancel;
use dismax::run::{Progress, Run};
use pyo3::prelude::*;
use tokio::runtime::Runtime;

use crate::error::{Kind, from_dismax};
use crate::lock;

/// How often whoever waits looks for Ctrl-C and tells about progress.
const INTERVAL: Duration = Duration::from_millis(100);

/// Says that threads are in use from here on. They do not survive a `fork`.
///
/// # Errors
/// `dismax.ForkError` in a copy of a process that used them.
pub fn enter() -> PyResult<()> {
    static USED_BY: AtomicU32 = AtomicU32::new(0);
    let process = process::id();
    match USED_BY.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(user) if user == process => Ok(()),
        Err(user) => Err(Kind::Fork.raise(format!(
            "dismax was used in process {user} before this one was forked from it, and its threads did not come along; \
             start processes with multiprocessing.get_context(\"spawn\"), or open the model in the new process only"
        ))),
    }
}

/// The threads that run queries.
///
/// # Errors
/// As [`enter`], and where there are no threads to be had.
pub fn runtime() -> PyResult<&'static Runtime> {
    enter()?;
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("dismax-query").enable_all().build();
    let runtime = runtime.map_err(|error| Kind::Other.raise(format!("threads for queries: {error}")))?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Waits for a query on behalf of another library, which may or may not hold the interpreter's lock.
///
/// # Errors
/// What a signal handler raises, and those of [`runtime`].
pub fn wait_for_library<T>(query: impl Future<Output = T>) -> PyResult<T> {
    let runtime = match lock::may_be_held() {
        true => lock::held(|_| runtime())?,
        false => runtime()?,
    };
    lock::released(|| {
        let mut query = pin!(query);
        loop {
            // A handler of a signal may itself ask for rows, so it runs outside of the runtime.
            match runtime.block_on(async { tokio::time::timeout(INTERVAL, query.as_mut()).await }) {
                Ok(answer) => return Ok(answer),
                Err(_) if lock::may_be_held() => lock::held(|py| py.check_signals())?,
                Err(_) => {}
            }
        }
    })
}

/// Waits for a query. Other Python threads run meanwhile; Ctrl-C ends it.
///
/// # Errors
/// What a signal handler raises, and those of [`runtime`].
pub fn wait<T: Send>(py: Python<'_>, query: impl Future<Output = T> + Send) -> PyResult<T> {
    let runtime = runtime()?;
    py.detach(|| {
        let mut query = pin!(query);
        loop {
            match runtime.block_on(async { tokio::time::timeout(INTERVAL, query.as_mut()).await }) {
                Ok(answer) => return Ok(answer),
                Err(_) => Python::attach(|py| py.check_signals())?,
            }
        }
    })
}

/// Something that happened in a run, as JSON.
pub type Event = String;

/// Does work on a thread of its own. `progress` is called with task, rows done, rows in all and failed rows now and
/// then, `on_event` with each event, both on this thread. Ctrl-C, or an error in either, stops the work at its next
/// step.
///
/// # Errors
/// Those of the work, of the callbacks and of signal handlers.
pub fn watch<T: Send>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    on_event: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&mut Run<'_>, &dyn Fn(Event)) -> dismax::Result<T> + Send,
) -> PyResult<T> {
    enter()?;
    let (progress, on_event) = (progress.map(|call| call.clone().unbind()), on_event.map(|call| call.clone().unbind()));
    let (cancel, latest) = (Cancel::default(), Mutex::new(None::<Progress>));
    let (sender, events) = unbounded::<Event>();
    let report = || {
        let latest = latest.lock().unwrap_or_else(PoisonError::into_inner).take();
        Python::attach(|py| {
            py.check_signals()?;
            if let (Some(call), Some(Progress { task, rows, of, failed })) = (&progress, latest) {
                call.call1(py, (task, rows, of, failed))?;
            }
            PyResult::Ok(())
        })
    };
    let tell = |event: Event| match &on_event {
        Some(call) => Python::attach(|py| call.call1(py, (event,)).map(drop)),
        None => Ok(()),
    };
    py.detach(|| {
        thread::scope(|scope| {
            let (cancelled, latest) = (cancel.clone(), &latest);
            let worker = scope.spawn(move || {
                let mut note = |progress| *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
                let mut run = Run { cancel: cancelled, progress: &mut note };
                work(&mut run, &|event| drop(sender.send(event)))
            });
            let (mut failure, mut reported) = (None, Instant::now());
            loop {
                let told = match events.recv_timeout(INTERVAL.saturating_sub(reported.elapsed())) {
                    Ok(event) => tell(event),
                    Err(RecvTimeoutError::Timeout) => {
                        reported = Instant::now();
                        report()
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if let (Err(error), None) = (told, &failure) {
                    cancel.cancel();
                    failure = Some(error);
                }
            }
            let result =
                worker.join().unwrap_or_else(|_| Err(dismax::Error::Internal("the run's thread panicked".into())));
            match failure {
                Some(error) => Err(error),
                None => {
                    report()?;
                    result.map_err(|error| from_dismax(&error))
                }
            }
        })
    })
}
