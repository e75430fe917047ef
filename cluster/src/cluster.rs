//! The workers of a cluster as a coordinator sees them.

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::prelude::SessionContext;
use datafusion_distributed::DistributedExt;
use dismax::cancel::Cancel;
use dismax_udfs::ScoreCodec;
use futures::future::join_all;
use url::Url;

use crate::channels::{Channels, SharedChannels, told};
use crate::error::{Error, Result};
use crate::security::Security;
use crate::work::{self, Answer, Needed, Work, WorkCodec};
use crate::workers::Workers;

/// How often what waits looks whether it should stop.
const TICK: Duration = Duration::from_millis(50);

/// Workers that this process may give work to. Those that do not answer, are of another release or lack a model are
/// left out, with a warning that names them, and asked again later.
#[derive(Debug)]
pub struct Cluster {
    workers: Arc<Workers>,
    channels: Arc<Channels>,
    context: Arc<TaskContext>,
}

impl Cluster {
    /// The workers at these addresses, `http://host:port` or `https://host:port`.
    ///
    /// # Errors
    /// What is no such address; [`Error::NoWorkers`] where none of them can take part.
    pub async fn connect(addresses: &[impl AsRef<str>], security: Security) -> Result<Arc<Self>> {
        let addresses = addresses.iter().map(|text| address(text.as_ref())).collect::<Result<Vec<_>>>()?;
        for worker in &addresses {
            security.tls_for(worker)?;
        }
        let channels = Arc::new(Channels::new(security));
        let workers = Arc::new(Workers::new(addresses, Arc::clone(&channels)));
        workers.look().await;
        workers.present()?;
        let state = SessionStateBuilder::new()
            .with_distributed_channel_resolver(SharedChannels(Arc::clone(&channels)))
            // The same in the same order as at the workers: what one wrote is found by its number.
            .with_distributed_user_codec(ScoreCodec::writing())
            .with_distributed_user_codec(WorkCodec::writing())
            .build();
        let context = SessionContext::new_with_state(state).task_ctx();
        Ok(Arc::new(Self { workers, channels, context }))
    }

    /// The addresses of the workers that take part.
    ///
    /// # Errors
    /// [`Error::NoWorkers`].
    pub fn present(&self) -> Result<Vec<String>> {
        Ok(self.workers.present()?.iter().map(crate::channels::shown).collect())
    }

    pub(crate) fn workers(&self) -> &Arc<Workers> {
        &self.workers
    }

    pub(crate) fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// Has all workers that take part load models that a plan needs. Those that cannot are left out.
    ///
    /// # Errors
    /// [`Error::NoWorkers`] where none is left.
    pub(crate) async fn prepare(&self, needed: &[Needed]) -> Result<()> {
        self.workers.look().await;
        for needed in needed {
            let waiting = self.workers.unprepared(needed).into_iter().map(|worker| async move {
                match self.prepare_on(&worker, needed).await {
                    Ok(()) => self.workers.note_prepared(&worker, needed),
                    Err(reason) => self.workers.leave_out(&worker, reason),
                }
            });
            join_all(waiting).await;
        }
        self.workers.present().map(|_| ())
    }

    async fn prepare_on(&self, worker: &Url, needed: &Needed) -> Result<(), String> {
        let mut answer = Err("it ended without an answer".to_owned());
        let mut take = |one| match one {
            Answer::End => answer = Ok(()),
            Answer::Failed { reason, .. } => answer = Err(reason),
            _ => {}
        };
        let asked = self.carry_out(worker, Work::Prepare(needed.clone()), &mut take).await;
        asked.map_err(|error| told(&error)).and(answer)
    }

    /// Gives work to a worker, and hands its answers on as they come.
    pub(crate) async fn carry_out(&self, worker: &Url, work: Work, take: &mut impl FnMut(Answer)) -> Result<()> {
        work::carry_out(worker, work, &self.context, take).await
    }
}

fn address(text: &str) -> Result<Url> {
    let wrong = || Error::Config(format!("{text}: is no address of a worker; write for example http://127.0.0.1:7070"));
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let is_plain = matches!(url.scheme(), "http" | "https") && url.has_host() && matches!(url.path(), "" | "/");
    if is_plain { Ok(url) } else { Err(wrong()) }
}

/// Waits for something, or for somebody who stops it.
pub(crate) async fn or_cancelled<T>(cancel: &Cancel, work: impl Future<Output = Result<T>>) -> Result<T> {
    let stopped = async {
        while !cancel.is_cancelled() {
            tokio::time::sleep(TICK).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = stopped => Err(dismax::Error::Cancelled.into()),
    }
}
