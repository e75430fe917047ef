//! Keeps record batches with images small around scoring nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

use super::ScoreExec;

/// A filter gathers rows until it has a full batch of the session's size, 8,192 rows: gigabytes where rows are photographs.
/// Next to a scoring node it gathers as many as the stage takes, and columns that nobody needs are not handed to it. Dealing
/// scored rows out to more partitions costs their order and gains nothing, so that is left out.
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

/// Filters below a scoring node, down to the next node that is neither filter nor hands batches through.
fn small_below(node: &Arc<dyn ExecutionPlan>, score: &ScoreExec) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let rows = score.batch_rows();
    let input = Arc::clone(&score.input).transform_down(|below| match below.downcast_ref::<FilterExec>() {
        Some(filter) if filter.batch_size() > rows => {
            Ok(Transformed::yes(Arc::new(filter.with_batch_size(rows)?) as Arc<dyn ExecutionPlan>))
        }
        _ => Ok(Transformed::no(below)),
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

/// A filter directly above a scoring node.
fn small_above(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = node.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(node)) };
    let Some(score) = filter.input().downcast_ref::<ScoreExec>() else { return Ok(Transformed::no(node)) };
    let columns = score.schema.fields().len();
    let mut needed: BTreeSet<usize> = match filter.projection() {
        Some(projection) => projection.iter().copied().collect(),
        None => (0..columns).collect(),
    };
    needed.extend(collect_columns(filter.predicate()).iter().map(Column::index));
    // The outputs stay: they are small.
    needed.extend(score.kept.len()..columns);
    let needed: Vec<usize> = needed.into_iter().collect();

    let narrowed: Arc<dyn ExecutionPlan> = Arc::new(score.narrowed(&needed)?);
    let position = |column: &usize| needed.binary_search(column).ok();
    let predicate = moved(filter.predicate(), &needed, &narrowed)?;
    let projection = match filter.projection() {
        Some(projection) => projection.iter().map(position).collect::<Option<Vec<usize>>>(),
        None => None,
    };
    let rows = filter.batch_size().min(score.batch_rows());
    let filter = FilterExecBuilder::new(predicate, narrowed)
        .with_default_selectivity(filter.default_selectivity())
        .with_batch_size(rows)
        .with_fetch(filter.fetch())
        .apply_projection(projection)?
        .build()?;
    Ok(Transformed::yes(Arc::new(filter)))
}

/// An expression on the columns that are left.
fn moved(
    expr: &Arc<dyn PhysicalExpr>,
    needed: &[usize],
    below: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = below.schema();
    let moved = Arc::clone(expr).transform_down(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
        Ok(match needed.binary_search(&column.index()) {
            Ok(index) => Transformed::yes(Arc::new(Column::new(schema.field(index).name(), index)) as _),
            Err(_) => Transformed::no(expr),
        })
    });
    moved.data()
}
