//! A session whose queries run on workers.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::SessionContext;
use datafusion_distributed::{DesiredTaskCountEvent, DistributedExt, RouteTasksEvent, SessionStateBuilderExt};
use dismax_udfs::{FinalPlanner, ScoreCodec, Spread, scoring_planner};

use crate::channels::SharedChannels;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::planner::{ClusterPlanner, Preparing};
use crate::spread::SpreadScans;
use crate::tasks;
use crate::work::WorkCodec;
use crate::workers::Present;

/// Says that a session belongs to a cluster.
#[derive(Debug)]
struct Joined;

/// Lets workers carry out the queries of a session. Its models may be registered before or after; they should be
/// [started late](dismax_udfs::Models::started_late), because this process scores hardly anything itself. Without an
/// `ORDER BY` rows come as the network brings them.
///
/// A plan's model goes by its digest. Workers that lack it fetch it, or are left out with a warning; so are workers
/// that do not answer. A query ends with an error where a worker is lost in its middle.
///
/// # Errors
/// A session that has joined a cluster already.
pub fn join(session: &SessionContext, cluster: &Arc<Cluster>) -> Result<()> {
    let state = session.state();
    if state.config().get_extension::<Joined>().is_some() {
        return Err(Error::Config("the session belongs to a cluster already".into()));
    }
    let alone = scoring_planner(Arc::clone(state.query_planner()));
    let workers = Arc::clone(cluster.workers());
    let mut config = state.config().clone().with_extension(Arc::new(Joined)).with_extension(Arc::new(Spread));
    let options = config.options_mut();
    // A scan of one partition cannot be dealt out, and small files have much work in them.
    options.optimizer.repartition_file_min_size = 0;
    options.execution.target_partitions = options.execution.target_partitions.max(2);
    // Files are dealt out by their rows.
    options.execution.collect_statistics = true;
    let preparing = Preparing { alone, cluster: Arc::clone(cluster) };
    let wanted = {
        let workers = Arc::clone(&workers);
        move |event: DesiredTaskCountEvent<'_>| tasks::wanted(&workers, event)
    };
    let placed = {
        let workers = Arc::clone(&workers);
        move |event: RouteTasksEvent<'_>| tasks::placed(&workers, &event)
    };
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(SpreadScans)];
    rules.extend(state.physical_optimizers().iter().cloned());
    let mut builder = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .with_physical_optimizer_rules(rules)
        .with_query_planner(Arc::new(preparing))
        .with_distributed_worker_resolver(Present(workers))
        .with_distributed_channel_resolver(SharedChannels(Arc::clone(cluster.channels())))
        .with_distributed_user_codec(ScoreCodec::writing())
        .with_distributed_user_codec(WorkCodec::writing())
        .with_distributed_desired_task_count_handler(wanted)
        .with_distributed_scale_up_leaf_node_handler(tasks::dealt_out)
        .with_distributed_route_tasks_handler(placed)
        .with_distributed_planner();
    let cutting = builder.query_planner().take().ok_or_else(|| Error::Config("the session has no planner".into()))?;
    let planner = FinalPlanner(Arc::new(ClusterPlanner { cutting }));
    *session.state_ref().write() = builder.with_query_planner(Arc::new(planner)).build();
    Ok(())
}
