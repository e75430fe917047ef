//! Sessions in which pieces of plans are carried out.

use std::sync::Arc;

use datafusion::common::Result as PlanResult;
use datafusion::execution::SessionState;
use datafusion_distributed::{
    DistributedExt, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse, WorkerQueryContext,
};
use dismax_udfs::{Models, ScoreCodec, sized_for_stages};

use super::allowed::Allowed;
use super::bench::WorkBench;
use super::metrics::{RunningTask, WorkerMetrics};
use super::models::WorkerModels;
use crate::channels::{Channels, SharedChannels};
use crate::error::Error;
use crate::query::Query;
use crate::work::WorkCodec;

/// What the sessions of a worker have in common.
#[derive(Debug)]
pub(super) struct Plans {
    pub models: Arc<WorkerModels>,
    pub allowed: Arc<Allowed>,
    pub channels: Arc<Channels>,
    pub metrics: Arc<WorkerMetrics>,
}

impl Plans {
    /// The session of one piece of a query: the query's functions, this worker's models.
    pub fn session(&self, context: WorkerQueryContext) -> PlanResult<SessionState> {
        let query = Query::of(&context.headers)?;
        let mut models = Models::new().with_options(self.models.options().clone());
        for model in &query.models {
            // One that is not here is one that the plan does not need.
            if let Some(found) = self.models.here(&model.digest) {
                models = models.with_source(&model.name, found, Arc::clone(&self.models) as _);
            }
        }
        let builder = dismax_udfs::extend(context.builder, models).map_err(Error::from)?;
        let bench = WorkBench { models: Arc::clone(&self.models), allowed: Arc::clone(&self.allowed) };
        let allowed = Arc::clone(&self.allowed);
        let checked = move |event: WorkerPlanRewriteEvent<'_>| {
            allowed.check_plan(&event.plan)?;
            Ok(WorkerPlanRewriteEventResponse::new(sized_for_stages(event.plan)?))
        };
        let mut builder = builder
            .with_distributed_user_codec(ScoreCodec::reading(Arc::clone(&self.models) as _))
            .with_distributed_user_codec(WorkCodec::reading(Arc::new(bench)))
            .with_distributed_channel_resolver(SharedChannels(Arc::clone(&self.channels)))
            .with_distributed_worker_plan_rewrite_handler(checked);
        // It ends with the session, however the query does.
        let running = RunningTask::begin(&self.metrics, query.id);
        let config = builder.config().take().unwrap_or_default();
        Ok(builder.with_config(config.with_extension(Arc::new(running))).build())
    }
}
