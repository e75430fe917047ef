//! The workers of a cluster as a coordinator sees them.

use std::sync::Arc;

use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::prelude::SessionContext;
use datafusion_distributed::DistributedExt;
use dismax_udfs::{ModelName, ScoreCodec};
use futures::future::join_all;
use url::Url;

use crate::channels::{Channels, SharedChannels, told};
use crate::error::{Error, Result};
use crate::security::Security;
use crate::work::{self, Answer, Work, WorkCodec};
use crate::workers::Workers;

/// Workers that this process may give work to. Those that do not answer, are of another release or lack a model are left
/// out, with a warning that names them, and asked again later.
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
    pub(crate) async fn prepare(&self, models: &[ModelName]) -> Result<()> {
        self.workers.look().await;
        for model in models {
            let waiting = self.workers.unprepared(model).into_iter().map(|worker| async move {
                let work = Work::Prepare { name: model.name.clone(), digest: model.digest.clone() };
                let mut answer = Ok(());
                let mut take = |one| {
                    if let Answer::Failed { reason, .. } = one {
                        answer = Err(reason);
                    }
                };
                let asked = self.carry_out(&worker, work, &mut take).await;
                match asked.map_err(|error| told(&error)).and(answer) {
                    Ok(()) => self.workers.note_prepared(&worker, model),
                    Err(reason) => self.workers.leave_out(&worker, reason),
                }
            });
            join_all(waiting).await;
        }
        self.workers.present().map(|_| ())
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
