//! Plans for the workers of a cluster.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::common::format::ExplainFormat;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::{Analyze, Explain, LogicalPlan, PlanType, StringifiedPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::explain::ExplainExec;
use datafusion_distributed::display_plan_ascii;
use dismax_udfs::models_used;

use crate::cluster::Cluster;
use crate::crossing::{crossings, scores_here};
use crate::work::Needed;

type Planner = Arc<dyn QueryPlanner + Send + Sync>;

/// Plans for one machine, and has the workers prepare the models of the plan before it is cut: they load them once, and
/// one that cannot is left out before it is given rows.
#[derive(Debug)]
pub(crate) struct Preparing {
    pub alone: Planner,
    pub cluster: Arc<Cluster>,
}

#[async_trait]
impl QueryPlanner for Preparing {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planned = self.alone.create_physical_plan(plan, session).await?;
        if !planned.is::<ExplainExec>() {
            let needed: Vec<Needed> = models_used(&planned)?.iter().map(Needed::for_queries).collect();
            self.cluster.prepare(&needed).await?;
        }
        Ok(planned)
    }
}

/// Plans with a planner that cuts, and explains what was cut.
#[derive(Debug)]
pub(crate) struct ClusterPlanner {
    pub cutting: Planner,
}

#[async_trait]
impl QueryPlanner for ClusterPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        match plan {
            LogicalPlan::Explain(explain) => self.explained(explain, plan, session).await,
            // What each worker did is in the verbose form alone.
            LogicalPlan::Analyze(analyze) if !analyze.verbose => {
                let each = LogicalPlan::Analyze(Analyze { verbose: true, ..analyze.clone() });
                self.cutting.create_physical_plan(&each, session).await
            }
            _ => {
                let planned = self.cutting.create_physical_plan(plan, session).await?;
                let crossings = crossings(&planned)?;
                crossings.iter().filter_map(|crossing| crossing.warning()).for_each(|warning| log::warn!("{warning}"));
                Ok(planned)
            }
        }
    }
}

impl ClusterPlanner {
    /// The execution plan as it is cut, in the place of the one for one machine.
    async fn explained(
        &self,
        explain: &Explain,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planned = self.cutting.create_physical_plan(plan, session).await?;
        let Some(alone) = planned.downcast_ref::<ExplainExec>() else { return Ok(planned) };
        if !matches!(explain.explain_format, ExplainFormat::Indent | ExplainFormat::Tree) {
            return Ok(planned);
        }
        let cut = self.cutting.create_physical_plan(&explain.plan, session).await?;
        let mut shown = display_plan_ascii(cut.as_ref(), false);
        for crossing in crossings(&cut)? {
            shown = format!("{}\n{crossing}", shown.trim_end());
        }
        if scores_here(&cut)? {
            shown = format!("{}\nscoring: on this machine, not on workers", shown.trim_end());
        }
        let plans = alone.stringified_plans().iter().map(|one| match one.plan_type {
            PlanType::FinalPhysicalPlan => StringifiedPlan::new(PlanType::FinalPhysicalPlan, shown.clone()),
            _ => one.clone(),
        });
        let plans = plans.collect();
        Ok(Arc::new(ExplainExec::new(alone.schema(), plans, alone.verbose())))
    }
}
