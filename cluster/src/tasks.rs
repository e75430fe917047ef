//! How many workers a piece of a plan is for, and how its files are dealt out to them.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedLeafExec, RouteTasksEvent,
    RouteTasksEventResponse, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse, WorkerResolver,
};
use dismax_udfs::{DatasetExec, RowRangesExec, ScoreExec};

use crate::crossing::may_hold_images;
use crate::workers::{Present, Workers};

/// Scoring costs a thousand times what reading does, so it goes to all workers, however small the files are. A leaf
/// that reads all its rows as one partition, or only some of them, must stay whole.
pub(crate) fn wanted(
    workers: &Arc<Workers>,
    event: DesiredTaskCountEvent<'_>,
) -> Option<Result<DesiredTaskCountEventResponse>> {
    let plan = event.plan;
    if plan.children().is_empty() {
        if plan.output_partitioning().partition_count() < 2 || plan.fetch().is_some() || limit_of(plan).is_some() {
            return Some(Ok(DesiredTaskCountEventResponse::maximum(1)));
        }
        if !plan.is::<DatasetExec>() {
            return None;
        }
    } else if !plan.is::<ScoreExec>() {
        return None;
    }
    let count = Present(Arc::clone(workers)).get_urls();
    Some(count.map(|workers| DesiredTaskCountEventResponse::desired(workers.len())))
}

/// Files with images are dealt out by rows: those of one row group cannot be cut by bytes.
pub(crate) fn dealt_out(event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    variants(event.plan, event.task_count).transpose().map(|variants| {
        let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), variants?)?;
        Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(leaf)))
    })
}

fn variants(plan: &Arc<dyn ExecutionPlan>, tasks: usize) -> Result<Option<Vec<Arc<dyn ExecutionPlan>>>> {
    if tasks < 2 {
        return Ok(None);
    }
    if let Some(dataset) = plan.downcast_ref::<DatasetExec>() {
        let pieces = dataset.divided(tasks)?;
        return Ok(Some(pieces.into_iter().map(|piece| Arc::new(piece) as Arc<dyn ExecutionPlan>).collect()));
    }
    match plan.schema().fields().iter().any(|field| may_hold_images(field)) {
        true => RowRangesExec::divided(plan, tasks),
        false => Ok(None),
    }
}

/// The same share of a scan always goes to the same worker, which remembers the scores of its images.
pub(crate) fn placed(workers: &Arc<Workers>, event: &RouteTasksEvent<'_>) -> Option<Result<RouteTasksEventResponse>> {
    if event.task_count < 2 {
        return None;
    }
    let urls = Present(Arc::clone(workers)).get_urls();
    let urls = urls.map(|urls| urls.iter().cycle().take(event.task_count).cloned().collect());
    Some(urls.map(RouteTasksEventResponse::new))
}

fn limit_of(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?.limit
}
