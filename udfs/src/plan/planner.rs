//! From logical to execution plan.

use std::any::{Any, TypeId};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, plan_err};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::node::ScoreNode;
use crate::exec::ScoreExec;

/// Makes scoring nodes execution plans. [`register`](crate::register) installs it; a session with a query planner of
/// its own adds it to that planner's extension planners.
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
        node.model.be_ready()?;
        let image = planner.create_physical_expr(&node.image, node.input.schema(), session, context)?;
        let names = node.outputs.iter().map(|output| (*output, node.column(*output).name));
        let exec = ScoreExec::try_new(Arc::clone(input), image, Arc::clone(&node.model), names.collect())?;
        Ok(Some(Arc::new(exec)))
    }
}

/// A planner that plans scoring nodes too: DataFusion's own, or one that a session has, where this plans what that one
/// cannot.
pub fn scoring_planner(others: Arc<dyn QueryPlanner + Send + Sync>) -> Arc<dyn QueryPlanner + Send + Sync> {
    Arc::new(ScoringQueryPlanner::beside(Some(others)))
}

/// A planner that plans scoring nodes too, so that what it cannot plan is not planned otherwise: one that sends plans
/// to other machines must not silently be left out.
#[derive(Debug)]
pub struct FinalPlanner(pub Arc<dyn QueryPlanner + Send + Sync>);

#[async_trait]
impl QueryPlanner for FinalPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.create_physical_plan(plan, session).await
    }
}

/// DataFusion's planner with [`ScorePlanner`], or a planner that the session had before.
#[derive(Debug)]
pub(crate) struct ScoringQueryPlanner {
    /// A planner that is not DataFusion's own.
    others: Option<Arc<dyn QueryPlanner + Send + Sync>>,
}

impl ScoringQueryPlanner {
    /// Takes the place of a session's planner, if it has one already.
    pub fn beside(planner: Option<Arc<dyn QueryPlanner + Send + Sync>>) -> Self {
        let own = SessionStateBuilder::new().build();
        let kind = |planner: &Arc<dyn QueryPlanner + Send + Sync>| (planner.as_ref() as &dyn Any).type_id();
        let others = planner
            .filter(|planner| kind(planner) != kind(own.query_planner()) && kind(planner) != TypeId::of::<Self>());
        Self { others }
    }
}

#[async_trait]
impl QueryPlanner for ScoringQueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(others) = &self.others {
            // It plans scoring nodes too where `ScorePlanner` was added to it.
            let planned = others.create_physical_plan(plan, session).await;
            let is_final = others.as_ref() as &dyn Any;
            if planned.is_ok() || is_final.is::<FinalPlanner>() || !has_scores(plan)? {
                return planned;
            }
        }
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ScorePlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}

fn has_scores(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= ScoreNode::of(node).is_some();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
