//! What a call asks for: the arguments after the image are a model's name and, for `dismax_is_ood`, an alpha.

use std::sync::Arc;

use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, expr::ScalarFunction};

use super::ScoreFunction;
use crate::models::{Registry, ScoringModel};
use crate::output::{Alpha, Output};

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
        let (output, model) = resolve(function.output, &function.models, &scalars)?;
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

/// What may stand after the image, for messages.
pub(super) fn arguments(output: Output) -> &'static str {
    match output {
        Output::IsOod => "after the image give an alpha such as 0.05, a model's name in quotes, or both",
        _ => "after the image give nothing or a model's name in quotes",
    }
}

/// Output and model of a call whose arguments have these values, where they are constant.
pub(super) fn resolve<'a>(
    output: Output,
    models: &'a Registry,
    arguments: &[Option<&ScalarValue>],
) -> Result<(Output, &'a Arc<ScoringModel>)> {
    let name = output.function();
    let (mut model, mut alpha) = (None, None);
    for argument in arguments.iter().skip(1) {
        let Some(value) = argument else {
            return plan_err!("{name}: model and alpha must be constants, not columns; {}", self::arguments(output));
        };
        match value.try_as_str() {
            Some(Some(text)) if model.is_none() => model = Some(text),
            _ => match (value.cast_to(&arrow::datatypes::DataType::Float64), output) {
                (Ok(ScalarValue::Float64(Some(number))), Output::IsOod) if alpha.is_none() => alpha = Some(number),
                _ => return plan_err!("{name}: {}, not {value}", self::arguments(output)),
            },
        }
    }
    let model = models.get(model)?;
    let output = alpha.map_or(output, |alpha| Output::IsOodAt(Alpha::new(alpha)));
    output.check(&model.columns)?;
    Ok((output, model))
}
