//! `ORDER BY cheap LIMIT k`: sort first, score the k rows that are left.
//!
//! DataFusion moves a limit below a projection but not a sort with it, so that every row would be scored to keep a few.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort};

use super::calls::contains_call;

/// A top-k sort above a projection with calls becomes that projection above the sort, where the order does not depend
/// on a score.
pub(super) fn below_projection(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Sort(sort) = &plan else { return Ok(Transformed::no(plan)) };
    Ok(match swapped(sort)? {
        Some(swapped) => Transformed::yes(swapped),
        None => Transformed::no(plan),
    })
}

fn swapped(sort: &Sort) -> Result<Option<LogicalPlan>> {
    let (Some(_), Some(projection)) = (sort.fetch, as_projection(&sort.input)) else { return Ok(None) };
    if !projection.expr.iter().any(contains_call) {
        return Ok(None);
    }
    let is_costly = |index: usize| projection.expr.get(index).is_none_or(contains_call);
    let keys = sort.expr.iter().flat_map(|key| key.expr.column_refs());
    let depends_on_score = |column| projection.schema.maybe_index_of_column(column).is_none_or(is_costly);
    if keys.into_iter().any(depends_on_score) || sort.expr.iter().any(|key| contains_call(&key.expr)) {
        return Ok(None);
    }

    let (costly, mut below): (Vec<&Expr>, Vec<Expr>) = (
        projection.expr.iter().filter(|expr| contains_call(expr)).collect(),
        projection.expr.iter().filter(|expr| !contains_call(expr)).cloned().collect(),
    );
    for column in costly.iter().flat_map(|expr| expr.column_refs()) {
        let column = Expr::Column(column.clone());
        if !below.contains(&column) {
            below.push(column);
        }
    }
    // Where a column and an alias have the same name, the rows stay as they are.
    let Ok(below) = Projection::try_new(below, Arc::clone(&projection.input)) else { return Ok(None) };
    let sorted = Sort { input: Arc::new(LogicalPlan::Projection(below)), ..sort.clone() };
    let above =
        projection.expr.iter().zip(projection.schema.columns()).map(|(expr, column)| match contains_call(expr) {
            true => expr.clone().alias_qualified_if_changed(column),
            false => Expr::Column(column),
        });
    let above = Projection::try_new(above.collect(), Arc::new(LogicalPlan::Sort(sorted)))?;
    let same = above.schema.logically_equivalent_names_and_types(&projection.schema);
    Ok(same.then_some(LogicalPlan::Projection(above)))
}

/// The projection that a plan is, also behind aliases.
fn as_projection(plan: &LogicalPlan) -> Option<Projection> {
    match plan {
        LogicalPlan::Projection(projection) => Some(projection.clone()),
        LogicalPlan::SubqueryAlias(alias) => {
            let projection = as_projection(&alias.input)?;
            let exprs = projection.expr.into_iter().zip(alias.schema.columns());
            let exprs = exprs.map(|(expr, column)| expr.alias_qualified_if_changed(column)).collect();
            Projection::try_new(exprs, projection.input).ok()
        }
        _ => None,
    }
}

trait AliasIfChanged {
    /// The expression under the name of `column`.
    fn alias_qualified_if_changed(self, column: datafusion::common::Column) -> Self;
}

impl AliasIfChanged for Expr {
    fn alias_qualified_if_changed(self, column: datafusion::common::Column) -> Self {
        let (relation, name) = self.qualified_name();
        if relation == column.relation && name == column.name {
            return self;
        }
        self.unalias().alias_qualified(column.relation, column.name)
    }
}
