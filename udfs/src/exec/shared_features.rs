//! Features for all scoring nodes of a plan where one of them needs some.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::ScoreExec;

/// Makes the scoring nodes of a model ask for pooled features where another node of the plan with that model does.
///
/// Images that two nodes meet are scored for the first of them. Scores without features would not do for the other, and
/// the images would be scored again. Features cost no time where an image is scored anyway, but 4 bytes each in the
/// cache of scores: among very many images of a large network these make room for fewer, and what is read twice may be
/// scored twice.
#[derive(Debug, Default)]
pub(crate) struct SharedFeatures;

impl PhysicalOptimizerRule for SharedFeatures {
    fn name(&self) -> &str {
        "dismax_shared_features"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let mut models = Vec::new();
        plan.apply(|node| {
            let score = node.downcast_ref::<ScoreExec>().filter(|score| score.with_features);
            models.extend(score.map(|score| score.model().digest));
            Ok(TreeNodeRecursion::Continue)
        })?;
        if models.is_empty() {
            return Ok(plan);
        }
        plan.transform_up(|node| match node.downcast_ref::<ScoreExec>() {
            Some(score) if !score.with_features && models.contains(&score.model().digest) => {
                Ok(Transformed::yes(Arc::new(score.clone().asking_for_features(true)) as Arc<dyn ExecutionPlan>))
            }
            _ => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}
