//! Filters below scoring nodes of what joins and sorts know while they run.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::ScoreExec;

/// Puts a filter below each scoring node of what nodes above told it that they will know: the keys that a hash join
/// has, the bounds of a top-k sort.
///
/// Not where a limit is between them: nodes with a limit of their own hand such filters down, but which rows are the
/// first must be settled without them.
#[derive(Debug, Default)]
pub(crate) struct LateFilters;

impl PhysicalOptimizerRule for LateFilters {
    fn name(&self) -> &str {
        "dismax_late_filters"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        place(plan, &HashSet::new())
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `producers` are the filters that nodes above know, down to the last limit.
fn place(plan: Arc<dyn ExecutionPlan>, producers: &HashSet<u64>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut producers = if plan.fetch().is_some() { HashSet::new() } else { producers.clone() };
    producers.extend(plan.dynamic_expressions_produced().iter().filter_map(|expr| expr.expression_id()));

    let children =
        plan.children().into_iter().map(|child| place(Arc::clone(child), &producers)).collect::<Result<_>>()?;
    let plan = replace_children_if_necessary(plan, children)?;

    let Some(score) = plan.downcast_ref::<ScoreExec>().filter(|score| !score.late_filters.is_empty()) else {
        return Ok(plan);
    };
    let filters = score.late_filters.iter().filter(|filter| is_known(filter, &producers)).cloned();
    let filters: Vec<_> = filters.collect();
    if filters.is_empty() {
        return Ok(Arc::new(ScoreExec { late_filters: Vec::new(), ..score.clone() }));
    }
    let filter = Arc::new(FilterExec::try_new(conjunction(filters), Arc::clone(&score.input))?);
    let (image, model) = (Arc::clone(&score.image), Arc::clone(&score.model));
    let filtered =
        ScoreExec::try_new(filter, image, model, score.outputs.clone())?.asking_for_features(score.with_features);
    Ok(Arc::new(ScoreExec { filters_late: true, ..filtered }))
}

/// Whether everything that a filter waits for is among `producers`.
fn is_known(filter: &Arc<dyn PhysicalExpr>, producers: &HashSet<u64>) -> bool {
    let mut ids = Vec::new();
    let visited = filter.apply(|expr| {
        ids.extend(expr.expression_id());
        Ok(TreeNodeRecursion::Continue)
    });
    visited.is_ok() && !ids.is_empty() && ids.iter().all(|id| producers.contains(id))
}
