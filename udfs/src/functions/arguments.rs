//! The arguments after the image: a model's name and, for `dismax_is_ood`, an alpha.

use std::sync::Arc;

use datafusion::common::{Result, ScalarValue, plan_err};

use crate::models::{Registry, ScoringModel};
use crate::output::{Alpha, Output};

/// What may stand after the image, for messages.
fn expected(output: Output) -> &'static str {
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
            return plan_err!("{name}: model and alpha must be constants, not columns; {}", expected(output));
        };
        match value.try_as_str() {
            Some(Some(text)) if model.is_none() => model = Some(text),
            _ => match (value.cast_to(&arrow::datatypes::DataType::Float64), output) {
                (Ok(ScalarValue::Float64(Some(number))), Output::IsOod) if alpha.is_none() => alpha = Some(number),
                _ => return plan_err!("{name}: {}, not {value}", expected(output)),
            },
        }
    }
    let model = models.get(model)?;
    let output = alpha.map_or(output, |alpha| Output::IsOodAt(Alpha::new(alpha)));
    output.check(&model.columns)?;
    Ok((output, model))
}
