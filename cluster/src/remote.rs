//! A plan of one partition on a worker of the caller's choice. Plans of queries are cut and placed by
//! datafusion-distributed; this is for work that must go to a certain worker.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use datafusion::common::{Result as PlanResult, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::{
    ExecuteTaskRequest, MaybeEncoded, ProducerHead, SetPlanRequest, TaskKey, get_distributed_channel_resolver,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::HeaderMap;
use tokio::sync::oneshot;
use url::Url;
use uuid::Uuid;

/// Starts a plan on a worker and gives its rows. Dropping them stops it.
pub(crate) async fn run_on(
    worker: &Url,
    plan: Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> PlanResult<BoxStream<'static, PlanResult<RecordBatch>>> {
    let mut client = get_distributed_channel_resolver(context).get_worker_client_for_url(worker).await?;
    let task_key = TaskKey { query_id: Uuid::new_v4(), stage_id: 0, task_number: 0 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let request = SetPlanRequest {
        task_key,
        task_count: 1,
        plan: MaybeEncoded::Decoded(plan),
        work_unit_feed_declarations: Vec::new(),
        target_worker_url: worker.clone(),
        query_start_time_ns: usize::try_from(now.as_nanos()).unwrap_or_default(),
    };
    // The worker keeps the plan as long as the coordinator's messages have not ended.
    let (running, ended) = oneshot::channel::<()>();
    let messages = futures::stream::once(ended).filter_map(async |_| None).boxed();
    let metrics = ExecutionPlanMetricsSet::new();
    let answers = client.coordinator_channel(HeaderMap::new(), request, messages, metrics.clone(), context).await?;
    let request = ExecuteTaskRequest {
        task_key,
        target_partition_start: 0,
        target_partition_end: 1,
        producer_head: ProducerHead::None,
    };
    let mut streams = client.execute_task(HeaderMap::new(), request, metrics, context).await?;
    let rows = streams.pop().ok_or_else(|| internal_datafusion_err!("one partition has one stream"))?;
    let held = (running, answers);
    Ok(rows
        .map(move |batch| {
            let _ = &held;
            batch
        })
        .boxed())
}
