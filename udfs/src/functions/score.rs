//! A scoring function, outside a plan's scoring node.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::arguments::resolve;
use super::{documentation, evaluate};
use crate::function::{Function, Takes};
use crate::models::Registry;

/// A scoring function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ScoreFunction {
    pub function: Function,
    pub models: Arc<Registry>,
    signature: Signature,
}

impl ScoreFunction {
    pub fn new(function: Function, models: Arc<Registry>) -> Self {
        // The first decides; the others are what `SHOW FUNCTIONS` lists.
        let mut forms = vec![TypeSignature::UserDefined];
        let parameters: &[Option<DataType>] = match function.takes() {
            Takes::Nothing => &[None],
            Takes::AlphaOrNothing => &[None, Some(DataType::Float64)],
            Takes::Alpha => &[Some(DataType::Float64)],
            Takes::Count => &[Some(DataType::Int64)],
        };
        for parameter in parameters {
            let without: Vec<DataType> = [DataType::Binary].into_iter().chain(parameter.clone()).collect();
            forms.push(TypeSignature::Exact(without.clone()));
            forms.push(TypeSignature::Exact([without, vec![DataType::Utf8]].concat()));
        }
        Self { function, models, signature: Signature::one_of(forms, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ScoreFunction {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        // Whatever does not fit is refused by `return_field_from_args`, which sees values and can say more.
        let coerced = arguments.iter().enumerate().map(|(position, argument)| match argument {
            DataType::Null if position == 0 => DataType::Binary,
            other => other.clone(),
        });
        Ok(coerced.collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        // The class names and their number are the model's, which only the arguments' values tell.
        plan_err!("{} needs the values of its arguments to know its type", self.name())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let (output, model) = resolve(self.function, &self.models, arguments.scalar_arguments)?;
        if let Some(image) = arguments.arg_fields.first() {
            model.input_column(image)?;
        }
        Ok(Arc::new(output.field(&model.columns, self.name())))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if arguments.number_rows == 0 {
            return Ok(ColumnarValue::Array(new_empty_array(arguments.return_field.data_type())));
        }
        let options = arguments.args.iter().skip(1).map(constant).collect::<Result<Vec<_>>>()?;
        let scalars: Vec<Option<&ScalarValue>> = std::iter::once(None).chain(options.iter().map(Some)).collect();
        let (output, model) = resolve(self.function, &self.models, &scalars)?;
        let (Some(images), Some(field)) = (arguments.args.first(), arguments.arg_fields.first()) else {
            return plan_err!("{} needs an image", self.name());
        };
        match images {
            ColumnarValue::Array(images) => Ok(ColumnarValue::Array(evaluate::score(model, output, images, field)?)),
            ColumnarValue::Scalar(image) => {
                let scored = evaluate::score(model, output, &image.to_array()?, field)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&scored, 0)?))
            }
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        documentation::of(self.function)
    }
}

/// The value of an argument in the first row. That all rows have it was required when the call was planned; by then an
/// engine behind a C interface has made an array of it.
fn constant(argument: &ColumnarValue) -> Result<ScalarValue> {
    match argument {
        ColumnarValue::Scalar(value) => Ok(value.clone()),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(values, 0),
    }
}
