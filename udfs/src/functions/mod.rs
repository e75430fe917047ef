//! The scalar functions. A query's plan replaces their calls by columns of one scoring node ([`crate::plan`]); where
//! that node cannot stand they score what they are given themselves, with the same workers and the same answer.

mod arguments;
mod call;
mod documentation;
mod evaluate;
mod score;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub(crate) use self::call::Call;
pub(crate) use self::score::ScoreFunction;
use crate::models::Registry;
use crate::output::Output;

/// All of them.
pub(crate) fn all(models: &Arc<Registry>) -> impl Iterator<Item = ScalarUDF> {
    Output::ALL.into_iter().map(|output| ScalarUDF::new_from_impl(ScoreFunction::new(output, Arc::clone(models))))
}
