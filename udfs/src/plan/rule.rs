//! The optimizer rule.

use std::sync::Arc;

use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, TableProviderFilterPushDown, TableScan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::calls::{contains_call, replaced, requests};
use super::placement::provide;
use super::top_k;
use crate::functions::Call;

/// Replaces calls of scoring functions by columns of scoring nodes. Runs last: filters and limits are where they belong
/// then.
#[derive(Debug, Default)]
pub(crate) struct ScoreOnce;

impl ScoreOnce {
    pub const NAME: &'static str = "dismax_score_once";
}

impl OptimizerRule for ScoreOnce {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !mentions_images(&plan)? {
            return Ok(Transformed::no(plan));
        }
        let plan = plan.transform_down_with_subqueries(top_k::below_projection)?;
        plan.transform_data(|plan| {
            plan.transform_up_with_subqueries(|node| score_below(node, config.alias_generator()))
        })
    }
}

/// Whether there is anything to do.
fn mentions_images(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= contains_call(expr);
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// Replaces the calls in the node's own expressions.
fn score_below(node: LogicalPlan, aliases: &AliasGenerator) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::TableScan(scan) => out_of_scan(scan, aliases),
        LogicalPlan::Filter(filter) if contains_call(&filter.predicate) => score_above(cheap_first(filter)?, aliases),
        LogicalPlan::Projection(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Window(_) => score_above(node, aliases),
        // Elsewhere the functions score what they are given.
        _ => Ok(Transformed::no(node)),
    }
}

/// Takes predicates with calls out of a table scan: it would score every row to find out which to read. A provider that
/// promises no exact answer has the predicate in a filter above it as well.
fn out_of_scan(mut scan: TableScan, aliases: &AliasGenerator) -> Result<Transformed<LogicalPlan>> {
    let (costly, cheap): (Vec<Expr>, Vec<Expr>) = scan.filters.iter().cloned().partition(contains_call);
    // With a number of rows to stop at, a predicate above the scan would mean something else; and there it needs its
    // columns.
    let are_read = costly.iter().flat_map(Expr::column_refs).all(|column| scan.projected_schema.has_column(column));
    if costly.is_empty() || scan.fetch.is_some() || !are_read {
        return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
    }
    let support = scan.source.supports_filters_pushdown(&costly.iter().collect::<Vec<_>>())?;
    let exact = costly.into_iter().zip(support).filter(|(_, support)| *support == TableProviderFilterPushDown::Exact);
    let exact = conjunction(exact.map(|(expr, _)| expr));
    scan.filters = cheap;
    let scan = LogicalPlan::TableScan(scan);
    match exact {
        None => Ok(Transformed::yes(scan)),
        Some(predicate) => {
            let filter = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(scan))?);
            Ok(Transformed::yes(score_above(filter, aliases)?.data))
        }
    }
}

/// Predicates without calls go into a filter of their own, below.
fn cheap_first(filter: Filter) -> Result<LogicalPlan> {
    let (costly, cheap): (Vec<Expr>, Vec<Expr>) =
        split_conjunction_owned(filter.predicate).into_iter().partition(contains_call);
    let mut input = filter.input;
    if let Some(cheap) = conjunction(cheap) {
        input = Arc::new(LogicalPlan::Filter(Filter::try_new(cheap, input)?));
    }
    match conjunction(costly) {
        Some(costly) => Ok(LogicalPlan::Filter(Filter::try_new(costly, input)?)),
        None => Ok(Arc::unwrap_or_clone(input)),
    }
}

/// Makes the scores that a node mentions columns of its inputs.
fn score_above(node: LogicalPlan, aliases: &AliasGenerator) -> Result<Transformed<LogicalPlan>> {
    let mut inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
    let mut columns: Vec<(Call, Column)> = Vec::new();
    for request in requests(&node)? {
        // A constant image, or one of an outer query or a lambda, comes from none of the inputs; one that is drawn anew
        // at each mention is not the same image.
        let mentioned = request.image.column_refs();
        let is_elsewhere = |expr: &Expr| matches!(expr, Expr::LambdaVariable(_) | Expr::OuterReferenceColumn(..));
        let is_whole = !mentioned.is_empty()
            && !request.image.is_volatile()
            && !request.image.exists(|expr| Ok(is_elsewhere(expr)))?;
        let from = |input: &LogicalPlan| mentioned.iter().all(|column| input.schema().has_column(column));
        let Some(input) = inputs.iter_mut().find(|input| is_whole && from(input)) else { continue };
        let calls: Vec<Call> = request
            .outputs
            .iter()
            .map(|output| Call { image: request.image.clone(), model: Arc::clone(&request.model), output: *output })
            .collect();
        let (scored, provided) = provide(input.clone(), request, aliases)?;
        *input = scored;
        columns.extend(calls.into_iter().zip(provided));
    }
    if columns.is_empty() {
        return Ok(Transformed::no(node));
    }
    let scored = node.with_new_exprs(replaced(&node, &columns)?, inputs)?;
    Ok(Transformed::yes(with_columns_of(scored, &node)?))
}

/// `plan` with the columns of `original` alone: scores that a node hands through are nobody else's business.
fn with_columns_of(plan: LogicalPlan, original: &LogicalPlan) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == original.schema().fields().len() {
        return Ok(plan);
    }
    let columns = original.schema().columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}
