//! The calls in expressions, and what replaces them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::functions::Call;
use crate::models::ScoringModel;
use crate::output::Output;

/// Whether an expression has a call in it.
pub(super) fn contains_call(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(Call::is_one(expr))).unwrap_or(false)
}

/// All outputs that are wanted of one image and model.
#[derive(Debug)]
pub(super) struct Request {
    pub image: Expr,
    pub model: Arc<ScoringModel>,
    pub outputs: Vec<Output>,
}

/// The calls in the node's own expressions, in the order they stand, by image and model.
pub(super) fn requests(plan: &LogicalPlan) -> Result<Vec<Request>> {
    let mut requests: Vec<Request> = Vec::new();
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            let Some(Call { image, model, output }) = Call::of(expr)? else { return Ok(TreeNodeRecursion::Continue) };
            match requests.iter_mut().find(|request| request.image == image && request.model == model) {
                Some(request) if request.outputs.contains(&output) => {}
                Some(request) => request.outputs.push(output),
                None => requests.push(Request { image, model, outputs: vec![output] }),
            }
            Ok(TreeNodeRecursion::Jump)
        })
    })?;
    Ok(requests)
}

/// The node's expressions with calls replaced by columns, their names kept where the node's schema has them.
pub(super) fn replaced(plan: &LogicalPlan, columns: &[(Call, Column)]) -> Result<Vec<Expr>> {
    let names = NamePreserver::new(plan);
    let replace = |expr: Expr| {
        let name = names.save(&expr);
        let replaced = expr.transform_down(|expr| {
            Ok(match Call::of(&expr)?.and_then(|call| columns.iter().find(|(replaced, _)| *replaced == call)) {
                Some((_, column)) => Transformed::new(Expr::Column(column.clone()), true, TreeNodeRecursion::Jump),
                None => Transformed::no(expr),
            })
        });
        Ok(name.restore(replaced.data()?))
    };
    let sets = |sets: Vec<Vec<Expr>>| {
        sets.into_iter().map(|set| set.into_iter().map(replace).collect()).collect::<Result<Vec<Vec<_>>>>()
    };
    let replace_one = |expr: Expr| match expr {
        // A grouping set has no name of its own; those of its members count.
        Expr::GroupingSet(GroupingSet::Rollup(members)) => {
            Ok(Expr::GroupingSet(GroupingSet::Rollup(members.into_iter().map(replace).collect::<Result<_>>()?)))
        }
        Expr::GroupingSet(GroupingSet::Cube(members)) => {
            Ok(Expr::GroupingSet(GroupingSet::Cube(members.into_iter().map(replace).collect::<Result<_>>()?)))
        }
        Expr::GroupingSet(GroupingSet::GroupingSets(members)) => {
            Ok(Expr::GroupingSet(GroupingSet::GroupingSets(sets(members)?)))
        }
        expr => replace(expr),
    };
    plan.expressions().into_iter().map(replace_one).collect()
}
