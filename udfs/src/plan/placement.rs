//! Where a scoring node stands.
//!
//! An image is followed from the node that mentions it down to where it comes from. On this path
//!
//! - a scoring node for the same image and model is used again;
//! - a new one stays above everything that removes rows (filters, limits, semi-joins), so that only rows that are left are
//!   scored, but goes below joins that may repeat a row, so that no image is scored twice (unless a limit keeps a few of
//!   their rows), and below sorts and windows, which would hold the images in memory.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Dependency, JoinType, Result, internal_err};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection, SubqueryAlias};

use super::calls::Request;
use super::node::ScoreNode;

/// `plan` with the requested outputs as columns, in their order.
pub(super) fn provide(
    plan: LogicalPlan,
    request: Request,
    aliases: &AliasGenerator,
) -> Result<(LogicalPlan, Vec<Column>)> {
    let path = path(&plan, &request.image)?;
    let has_scores = |step: &Step| {
        ScoreNode::of(step.plan).is_some_and(|node| node.model == request.model && node.image == step.image)
    };
    let (depth, image, is_there) = match path.iter().position(has_scores) {
        Some(depth) => (depth, request.image.clone(), true),
        None => {
            let depth = new_depth(&path);
            (depth, path.get(depth).map_or_else(|| end(&path, &request.image), |step| step.above.clone()), false)
        }
    };
    let children: Vec<usize> = path.iter().take(depth).map(|step| step.child).collect();
    drop(path);
    let place = |plan: LogicalPlan| {
        let node = match ScoreNode::of(&plan).filter(|_| is_there) {
            Some(node) => node.with_outputs(&request.outputs)?,
            None => {
                let (model, outputs) = (Arc::clone(&request.model), request.outputs.clone());
                let prefix = unused_prefix(&plan, aliases)?;
                ScoreNode::try_new(Arc::new(plan), image, model, outputs, prefix)?
            }
        };
        let columns = request.outputs.iter().map(|output| node.column(*output)).collect();
        Ok((node.into_plan(), columns))
    };
    rebuild(plan, &children, place)
}

/// Begins the names of columns that no node below has: plans that were optimized before may have been numbered anew.
fn unused_prefix(plan: &LogicalPlan, aliases: &AliasGenerator) -> Result<String> {
    loop {
        let prefix = aliases.next("__dismax");
        // A table may be a scored plan that another tool saved, with such names.
        let begins = |node: &LogicalPlan| node.schema().fields().iter().any(|field| field.name().starts_with(&prefix));
        if !plan.exists(|node| Ok(begins(node) || ScoreNode::of(node).is_some_and(|node| node.prefix() == prefix)))? {
            return Ok(prefix);
        }
    }
}

/// A node that hands the image through.
struct Step<'a> {
    plan: &'a LogicalPlan,
    /// The image as the node's output has it.
    above: Expr,
    /// Which input it comes from, and the image as that has it.
    child: usize,
    image: Expr,
}

/// From `plan` down to where the image comes from.
fn path<'a>(plan: &'a LogicalPlan, image: &Expr) -> Result<Vec<Step<'a>>> {
    let (mut plan, mut above) = (plan, image.clone());
    let mut path = Vec::new();
    while let Some((child, image)) = through(plan, &above)? {
        let Some(input) = plan.inputs().get(child).copied() else { break };
        path.push(Step { plan, above, child, image: image.clone() });
        (plan, above) = (input, image);
    }
    Ok(path)
}

/// The image below the whole path.
fn end(path: &[Step], image: &Expr) -> Expr {
    path.last().map_or(image, |step| &step.image).clone()
}

/// How many steps down a new node stands.
fn new_depth(path: &[Step]) -> usize {
    // Above a limit there are few rows, repeated or not.
    let limited = path.iter().position(keeps_few).unwrap_or(path.len());
    let below_joins = path.iter().take(limited).rposition(repeats_rows).map_or(0, |depth| depth + 1);
    let free = path.iter().skip(below_joins).take_while(|step| !removes_rows(step)).count();
    below_joins + free
}

/// The input that the image comes from and the image as that input has it; `None` where it does not come from below as
/// it is.
fn through(plan: &LogicalPlan, image: &Expr) -> Result<Option<(usize, Expr)>> {
    let columns = image.column_refs();
    let all_in = |schema: &DFSchema| columns.iter().all(|column| schema.has_column(column));
    Ok(match plan {
        LogicalPlan::Projection(projection) => {
            map(image, |column| projected(projection, column))?.map(|image| (0, image))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let below = |column: &Column| {
                let (qualifier, field) =
                    alias.input.schema().qualified_field(alias.schema.maybe_index_of_column(column)?);
                Some(Expr::Column(Column::new(qualifier.cloned(), field.name())))
            };
            map(image, below)?.map(|image| (0, image))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Repartition(_) => {
            Some((0, image.clone()))
        }
        LogicalPlan::Window(window) => all_in(window.input.schema()).then(|| (0, image.clone())),
        LogicalPlan::Extension(_) => {
            ScoreNode::of(plan).filter(|node| all_in(node.input.schema())).map(|_| (0, image.clone()))
        }
        LogicalPlan::Join(join) => {
            // Where a side may be filled up with NULL, an image that is missing is not an image that is NULL.
            let (left_whole, right_whole) = match join.join_type {
                JoinType::Left => (true, false),
                JoinType::Right => (false, true),
                JoinType::Full => (false, false),
                _ => (true, true),
            };
            let (on_left, on_right) = (all_in(join.left.schema()), all_in(join.right.schema()));
            match (on_left, on_right) {
                (true, false) if left_whole => Some((0, image.clone())),
                (false, true) if right_whole => Some((1, image.clone())),
                _ => None,
            }
        }
        _ => None,
    })
}

/// What a column of a projection is below it.
fn projected(projection: &Projection, column: &Column) -> Option<Expr> {
    let expr = projection.expr.get(projection.schema.maybe_index_of_column(column)?)?;
    let expr = expr.clone().unalias_nested().data;
    (!expr.is_volatile()).then_some(expr)
}

/// `image` with its columns replaced; `None` where one cannot be.
fn map(image: &Expr, below: impl Fn(&Column) -> Option<Expr>) -> Result<Option<Expr>> {
    let mut whole = true;
    let mapped = image.clone().transform_down(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        Ok(match below(column) {
            Some(below) => Transformed::new(below, true, datafusion::common::tree_node::TreeNodeRecursion::Jump),
            None => {
                whole = false;
                Transformed::no(expr)
            }
        })
    });
    Ok(Some(mapped.data()?).filter(|_| whole))
}

/// Whether a number of rows is all that comes out.
fn keeps_few(step: &Step) -> bool {
    match step.plan {
        LogicalPlan::Limit(_) => true,
        LogicalPlan::Sort(sort) => sort.fetch.is_some(),
        _ => false,
    }
}

fn removes_rows(step: &Step) -> bool {
    match step.plan {
        LogicalPlan::Filter(_) => true,
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => keeps_few(step),
        LogicalPlan::Join(join) => !is_outer(join, step.child),
        _ => false,
    }
}

/// Whether every row of this side comes out.
fn is_outer(join: &Join, side: usize) -> bool {
    match join.join_type {
        JoinType::Left | JoinType::LeftMark => side == 0,
        JoinType::Right | JoinType::RightMark => side == 1,
        JoinType::Full => true,
        _ => false,
    }
}

/// Whether a row of this side may come out several times.
fn repeats_rows(step: &Step) -> bool {
    let LogicalPlan::Join(join) = step.plan else { return false };
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => false,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => false,
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            let (other, keys): (_, Vec<&Expr>) = match step.child {
                0 => (&join.right, join.on.iter().map(|(_, right)| right).collect()),
                _ => (&join.left, join.on.iter().map(|(left, _)| left).collect()),
            };
            other.max_rows().is_none_or(|rows| rows > 1) && !is_unique(other.schema(), &keys)
        }
    }
}

/// Whether rows with these key values are known to be at most one.
fn is_unique(schema: &DFSchema, keys: &[&Expr]) -> bool {
    let keys: HashSet<usize> = keys
        .iter()
        .filter_map(|key| match key {
            Expr::Column(column) => schema.maybe_index_of_column(column),
            _ => None,
        })
        .collect();
    schema.functional_dependencies().iter().any(|dependence| {
        dependence.mode == Dependency::Single
            && dependence.target_indices.len() == schema.fields().len()
            && dependence.source_indices.iter().all(|source| keys.contains(source))
    })
}

/// Places something below a path and lifts its columns up to the top.
fn rebuild(
    plan: LogicalPlan,
    path: &[usize],
    place: impl FnOnce(LogicalPlan) -> Result<(LogicalPlan, Vec<Column>)>,
) -> Result<(LogicalPlan, Vec<Column>)> {
    let Some((&child, rest)) = path.split_first() else { return place(plan) };
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let Some(input) = inputs.get_mut(child) else { return internal_err!("a plan node lost an input") };
    let (below, columns) = rebuild(input.clone(), rest, place)?;
    *input = below;
    lift(&plan, inputs, columns)
}

/// `plan` on new inputs, one of which has more columns; these come out of it as well.
fn lift(plan: &LogicalPlan, mut inputs: Vec<LogicalPlan>, columns: Vec<Column>) -> Result<(LogicalPlan, Vec<Column>)> {
    match (plan, inputs.len()) {
        (LogicalPlan::Projection(projection), 1) => {
            let mut exprs = projection.expr.clone();
            for column in &columns {
                let column = Expr::Column(column.clone());
                if !exprs.contains(&column) {
                    exprs.push(column);
                }
            }
            let input = Arc::new(inputs.swap_remove(0));
            Ok((LogicalPlan::Projection(Projection::try_new(exprs, input)?), columns))
        }
        (LogicalPlan::SubqueryAlias(alias), 1) => {
            let columns =
                columns.into_iter().map(|column| Column::new(Some(alias.alias.clone()), column.name)).collect();
            let input = Arc::new(inputs.swap_remove(0));
            Ok((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias.clone())?), columns))
        }
        _ => Ok((plan.with_new_exprs(plan.expressions(), inputs)?, columns)),
    }
}
