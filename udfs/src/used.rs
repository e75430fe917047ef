//! Which models a session knows, and which a plan needs.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;

use crate::exec::ScoreExec;
use crate::functions::ScoreFunction;
use crate::models::ModelName;
use crate::register::registry_of;

/// The models that the functions of a session score with: those of the last
/// [`register`](crate::register), and what statements changed since.
pub fn models_of(functions: &HashMap<String, Arc<ScalarUDF>>) -> Vec<ModelName> {
    registry_of(functions).map_or_else(Vec::new, |models| models.names())
}

/// The models that carry out a plan: those of its scoring nodes, and all models of a function that scores by itself.
///
/// # Errors
/// None so far: as plans are walked.
pub fn models_used(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<ModelName>> {
    let mut used: Vec<ModelName> = Vec::new();
    let mut add = |models: Vec<ModelName>| {
        models.into_iter().for_each(|model| {
            if !used.contains(&model) {
                used.push(model);
            }
        });
    };
    plan.apply(|node| {
        if let Some(score) = node.downcast_ref::<ScoreExec>() {
            add(vec![score.model()]);
        }
        node.apply_expressions(&mut |expr: &Arc<dyn PhysicalExpr>| {
            expr.apply(|expr| {
                let call = expr.downcast_ref::<ScalarFunctionExpr>();
                if let Some(function) = call.and_then(|call| call.fun().inner().downcast_ref::<ScoreFunction>()) {
                    add(function.models.names());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(used)
}
