//! Keeps record batches with images small around scoring nodes.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

use super::ScoreExec;

/// A filter gathers rows until it has a full batch of the session's size, 8,192 rows: gigabytes where rows are
/// photographs. Next to a scoring node it gathers as many as the stage takes. Dealing scored rows out to more
/// partitions costs their order and gains nothing, so that is left out.
#[derive(Debug, Default)]
pub(crate) struct SmallBatches;

impl PhysicalOptimizerRule for SmallBatches {
    fn name(&self) -> &str {
        "dismax_small_batches"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if let Some(score) = node.downcast_ref::<ScoreExec>() {
                return small_below(&node, score);
            }
            let node = dealt_out(node)?;
            node.transform_data(small_above)
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A plan whose batches near scoring nodes are as small as the models' workers want them: for a plan that was made
/// where the models had none.
///
/// # Errors
/// None so far: as plans are rewritten.
pub fn sized_for_stages(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    SmallBatches.optimize(plan, &ConfigOptions::default())
}

/// Filters below a scoring node, down to the next node that is neither filter nor hands batches through.
fn small_below(node: &Arc<dyn ExecutionPlan>, score: &ScoreExec) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let rows = score.batch_rows();
    let input = Arc::clone(&score.input).transform_down(|below| match below.downcast_ref::<FilterExec>() {
        Some(filter) if filter.batch_size() > rows => {
            Ok(Transformed::yes(Arc::new(filter.with_batch_size(rows)?) as Arc<dyn ExecutionPlan>))
        }
        _ if below.is::<ProjectionExec>() || below.is::<RepartitionExec>() || below.is::<FilterExec>() => {
            Ok(Transformed::no(below))
        }
        _ => Ok(Transformed::new(below, false, TreeNodeRecursion::Jump)),
    })?;
    if !input.transformed {
        return Ok(Transformed::no(Arc::clone(node)));
    }
    let score = ScoreExec { input: input.data, ..score.clone() };
    Ok(Transformed::yes(Arc::new(score)))
}

/// Leaves out a round-robin repartition of scored rows.
fn dealt_out(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(repartition) = node.downcast_ref::<RepartitionExec>()
        && matches!(repartition.partitioning(), Partitioning::RoundRobinBatch(_))
        && repartition.input().downcast_ref::<ScoreExec>().is_some()
    {
        return Ok(Transformed::yes(Arc::clone(repartition.input())));
    }
    Ok(Transformed::no(node))
}

/// A filter above a scoring node, also where only a projection stands between.
fn small_above(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = node.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(node)) };
    let below = filter.input().downcast_ref::<ProjectionExec>().map_or(filter.input(), ProjectionExec::input);
    match below.downcast_ref::<ScoreExec>().map(ScoreExec::batch_rows).filter(|rows| *rows < filter.batch_size()) {
        Some(rows) => Ok(Transformed::yes(Arc::new(filter.with_batch_size(rows)?))),
        None => Ok(Transformed::no(node)),
    }
}
