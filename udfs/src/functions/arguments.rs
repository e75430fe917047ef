//! The arguments after the image: what a function takes, and a model's name.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};

use crate::function::{Alpha, Function, Parameter, Takes};
use crate::models::{Registry, ScoringModel};
use crate::output::Output;

/// What may stand after the image, for messages.
fn expected(function: Function) -> &'static str {
    match function.takes() {
        Takes::Nothing => "after the image give nothing or a model's name in quotes",
        Takes::AlphaOrNothing => "after the image give an alpha such as 0.05, a model's name in quotes, or both",
        Takes::Alpha => {
            "after the image give an alpha such as 0.05, and a model's name in quotes where there are several"
        }
        Takes::Count => {
            "after the image give a number of classes from 1 on, and a model's name in quotes where there are several"
        }
    }
}

/// Output and model of a call whose arguments have these values, where they are constant.
pub(super) fn resolve<'a>(
    function: Function,
    models: &'a Registry,
    arguments: &[Option<&ScalarValue>],
) -> Result<(Output, &'a Arc<ScoringModel>)> {
    let name = function.name();
    let (mut model, mut parameter) = (None, None);
    for argument in arguments.iter().skip(1) {
        let Some(value) = argument else {
            return plan_err!(
                "{name}: what stands after the image must be constant, not a column; {}",
                expected(function)
            );
        };
        match value.try_as_str() {
            Some(Some(text)) if model.is_none() => model = Some(text),
            _ => match parameter_of(function.takes(), value) {
                Some(value) if parameter.is_none() => parameter = Some(value),
                _ => return plan_err!("{name}: {}, not {value}", expected(function)),
            },
        }
    }
    let Some(output) = Output::of(function, parameter) else {
        return plan_err!("{name}: {}", expected(function));
    };
    let model = models.get(model)?;
    output.check(&model.columns)?;
    Ok((output, model))
}

fn parameter_of(takes: Takes, value: &ScalarValue) -> Option<Parameter> {
    match takes {
        Takes::Nothing => None,
        Takes::Alpha | Takes::AlphaOrNothing => match value.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(Some(alpha))) => Some(Parameter::Alpha(Alpha::new(alpha))),
            _ => None,
        },
        // A cast would cut 2.5 to 2.
        Takes::Count if value.data_type().is_integer() => match value.cast_to(&DataType::UInt32) {
            Ok(ScalarValue::UInt32(Some(count))) if count > 0 => Some(Parameter::Count(count)),
            _ => None,
        },
        Takes::Count => None,
    }
}
