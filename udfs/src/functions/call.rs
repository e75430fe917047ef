//! Calls of the functions in a plan.

use std::sync::Arc;

use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, expr::ScalarFunction};

use super::arguments::resolve;
use super::score::ScoreFunction;
use crate::models::ScoringModel;
use crate::output::Output;

/// A call of a scoring function in a logical plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub image: Expr,
    pub model: Arc<ScoringModel>,
    pub output: Output,
}

impl Call {
    /// The call that an expression is, if it is one.
    pub fn of(expr: &Expr) -> Result<Option<Self>> {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return Ok(None) };
        let Some(function) = func.inner().downcast_ref::<ScoreFunction>() else { return Ok(None) };
        let Some(image) = args.first() else { return Ok(None) };
        let scalars: Vec<Option<&ScalarValue>> = args.iter().map(literal).collect();
        let (output, model) = resolve(function.function, &function.models, &scalars)?;
        Ok(Some(Self { image: image.clone(), model: Arc::clone(model), output }))
    }

    /// Whether an expression is a call, whatever its arguments.
    pub fn is_one(expr: &Expr) -> bool {
        matches!(expr, Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<ScoreFunction>().is_some())
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}
