//! Lets scoring nodes that read the same images share their scores.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::ScoreExec;
use super::shared::Share;
use super::sources::Sources;

/// Gives scoring nodes of one model that read the same files their parts in shared scores; also a node that reads them
/// twice through a union. Nodes that read different files hold different images, for which looking is in vain.
#[derive(Debug, Default)]
pub(crate) struct ShareScores;

impl PhysicalOptimizerRule for ShareScores {
    fn name(&self) -> &str {
        "dismax_share_scores"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let mut nodes: Vec<(ScoreExec, Sources)> = Vec::new();
        plan.apply(|node| {
            nodes.extend(node.downcast_ref::<ScoreExec>().map(|score| (score.clone(), Sources::of(&score.input))));
            Ok(TreeNodeRecursion::Continue)
        })?;
        let shares = shares(&nodes);
        if shares.is_empty() {
            return Ok(plan);
        }
        let mut shares = shares.into_iter();
        // The same order as above: parents before children.
        plan.transform_down(|node| {
            let Some(score) = node.downcast_ref::<ScoreExec>() else { return Ok(Transformed::no(node)) };
            let share = shares.next().flatten();
            Ok(Transformed::yes(Arc::new(ScoreExec { share, ..score.clone() })))
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The nodes' parts, none where a node has nothing to share; empty where none has.
fn shares(nodes: &[(ScoreExec, Sources)]) -> Vec<Option<Share>> {
    let is_same = |(one, its): &(ScoreExec, Sources), (other, others): &(ScoreExec, Sources)| {
        one.model == other.model && its.overlap(others)
    };
    // The first node of a group stands for it.
    let mut groups: Vec<usize> = Vec::with_capacity(nodes.len());
    for (number, node) in nodes.iter().enumerate() {
        groups.push(
            (0..number).find(|earlier| is_same(&nodes[*earlier], node)).map_or(number, |earlier| groups[earlier]),
        );
    }
    let mut shares: Vec<Option<Share>> = vec![None; nodes.len()];
    let mut group = 0;
    for first in 0..nodes.len() {
        let members: Vec<usize> = (0..nodes.len()).filter(|node| groups[*node] == first).collect();
        if members.len() > 1 || members.iter().any(|node| nodes[*node].1.repeated()) {
            group += 1;
            for (node, share) in members.iter().zip(Share::among(members.len(), group)) {
                shares[*node] = Some(share);
            }
        }
    }
    if shares.iter().all(Option::is_none) { Vec::new() } else { shares }
}
