//! From logical to execution plan.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, plan_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::node::ScoreNode;
use crate::exec::ScoreExec;

/// Makes scoring nodes execution plans. [`register`](crate::register) installs it; a session with a query planner of its own
/// adds it to that planner's extension planners.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScorePlanner;

#[async_trait]
impl ExtensionPlanner for ScorePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<ScoreNode>() else { return Ok(None) };
        let [input] = physical_inputs else { return plan_err!("a scoring node has one input") };
        let image = planner.create_physical_expr(&node.image, node.input.schema(), session, context)?;
        let names = node.outputs.iter().map(|output| (*output, node.column(*output).name));
        let exec = ScoreExec::try_new(Arc::clone(input), image, Arc::clone(&node.model), names.collect())?;
        Ok(Some(Arc::new(exec)))
    }
}

/// Plans queries with scoring nodes; leaves all others to the planner that was there before.
#[derive(Debug)]
pub(crate) struct ScoringQueryPlanner {
    pub others: Arc<dyn QueryPlanner + Send + Sync>,
}

#[async_trait]
impl QueryPlanner for ScoringQueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let mut scores = false;
        plan.apply_with_subqueries(|node| {
            scores |= ScoreNode::of(node).is_some();
            Ok(if scores { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !scores {
            return self.others.create_physical_plan(plan, session).await;
        }
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ScorePlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}
