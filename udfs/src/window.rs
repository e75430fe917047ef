//! `bh_reject(p_value, q) OVER (...)`: which rows the Benjamini-Hochberg procedure rejects among those of the window.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    DocSection, Documentation, PartitionEvaluator, Signature, TypeSignature, Volatility, WindowUDF, WindowUDFImpl,
};
use dismax::calibration::benjamini_hochberg;

use crate::constant;
use crate::models::external;

const SECTION: DocSection = DocSection {
    include: true,
    label: "Model Audit Functions",
    description: Some("How good predictions, confidences and scores are."),
};

/// The window function.
pub(crate) fn bh_reject() -> WindowUDF {
    WindowUDF::new_from_impl(BhReject { signature: signature() })
}

fn signature() -> Signature {
    let exact = |number| TypeSignature::Exact(vec![number, DataType::Float64]);
    // As conformal p-values are stored first: a wider float would not be the same p-value.
    Signature::one_of(vec![exact(DataType::Float32), exact(DataType::Float64)], Volatility::Immutable)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BhReject {
    signature: Signature,
}

impl WindowUDFImpl for BhReject {
    fn name(&self) -> &str {
        "bh_reject"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, arguments: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        match arguments.input_exprs().get(1).and_then(constant::value_of) {
            Some(ScalarValue::Float64(Some(q))) => Ok(Box::new(Procedure { q })),
            _ => plan_err!("bh_reject(p_value, q): q must be a constant false discovery rate such as 0.05"),
        }
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Boolean, true)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                SECTION,
                "Returns whether the Benjamini-Hochberg procedure rejects the row among all rows of the partition, so that the \
                 expected share of false rejections is at most q. NULL where the p-value is, and such rows do not count.",
                "bh_reject(p_value, q) OVER ([PARTITION BY ...])",
            )
            .with_argument("p_value", "P-values in [0, 1], such as dismax_ood_p_value(image).")
            .with_argument("q", "False discovery rate, a constant in (0, 1).")
            .with_sql_example("SELECT id, bh_reject(dismax_ood_p_value(img), 0.05) OVER () FROM 'photos.parquet';")
            .build()
        });
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct Procedure {
    q: f64,
}

impl PartitionEvaluator for Procedure {
    fn evaluate_all(&mut self, values: &[ArrayRef], _: usize) -> Result<ArrayRef> {
        let Some(p_values) = values.first() else { return exec_err!("bh_reject needs p-values") };
        let p_values = cast(p_values, &DataType::Float64)?;
        let p_values = p_values.as_primitive::<Float64Type>();
        let threshold = benjamini_hochberg(p_values.iter().flatten(), self.q).map_err(external)?;
        let is_rejected = |p_value: f64| threshold.is_some_and(|threshold| p_value <= threshold);
        Ok(Arc::new(p_values.iter().map(|p_value| p_value.map(is_rejected)).collect::<BooleanArray>()))
    }
}
