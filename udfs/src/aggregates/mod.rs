//! Aggregates for audits: calibration error, Brier score and ranking figures, mergeable across partitions. Rows with a
//! NULL are left out; without rows (for rankings: without rows of both kinds) the answer is NULL.

mod arguments;
mod calibration;
mod ranking;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, not_impl_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, DocSection, Documentation, Signature, TypeSignature, Volatility,
};
use dismax::metrics::DEFAULT_BINS;

use self::calibration::{Brier, Ece};
use self::ranking::{Figure, Ranking};
use crate::constant;

/// Share of positive rows that `fpr_at_tpr` accepts where none is given.
const TPR: f64 = 0.95;

const SECTION: DocSection = DocSection {
    include: true,
    label: "Model Audit Functions",
    description: Some("How good predictions, confidences and scores are."),
};

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = AggregateUDF> {
    Aggregate::ALL.into_iter().map(|kind| AggregateUDF::new_from_impl(Audit::new(kind)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Aggregate {
    Ece,
    Brier,
    Auroc,
    AveragePrecision,
    FprAtTpr,
}

impl Aggregate {
    const ALL: [Self; 5] = [Self::Ece, Self::Brier, Self::Auroc, Self::AveragePrecision, Self::FprAtTpr];

    fn name(self) -> &'static str {
        match self {
            Self::Ece => "ece",
            Self::Brier => "brier",
            Self::Auroc => "auroc",
            Self::AveragePrecision => "average_precision",
            Self::FprAtTpr => "fpr_at_tpr",
        }
    }

    /// How it is called.
    fn syntax(self) -> &'static str {
        match self {
            Self::Ece => "ece(correct, confidence [, bins])",
            Self::Brier => "brier(is_positive, probability)",
            Self::Auroc => "auroc(is_positive, score)",
            Self::AveragePrecision => "average_precision(is_positive, score)",
            Self::FprAtTpr => "fpr_at_tpr(is_positive, score [, tpr])",
        }
    }

    fn takes_option(self) -> bool {
        matches!(self, Self::Ece | Self::FprAtTpr)
    }

    fn documentation(self) -> Documentation {
        let (description, example) = match self {
            Self::Ece => (
                "Expected calibration error, in [0, 1]: the mean difference between confidence and share of right predictions \
                 over bins of equal width (15 unless given).",
                "SELECT ece(dismax_prediction(img) = label, dismax_confidence(img)) FROM 'test.parquet';",
            ),
            Self::Brier => (
                "Brier score of a binary event, in [0, 1]: the mean squared difference between probability and outcome.",
                "SELECT brier(dismax_prediction(img) = label, dismax_confidence(img)) FROM 'test.parquet';",
            ),
            Self::Auroc => (
                "Area under the ROC curve: the chance that a positive row scores higher than another, ties one half.",
                "SELECT auroc(source = 'other', dismax_ood_score(img)) FROM 'mixed.parquet';",
            ),
            Self::AveragePrecision => (
                "Average precision, the step-wise area under the precision-recall curve, as scikit-learn computes it.",
                "SELECT average_precision(source = 'other', dismax_ood_score(img)) FROM 'mixed.parquet';",
            ),
            Self::FprAtTpr => (
                "Share of negative rows accepted at the highest threshold that accepts the share tpr (0.95 unless given) of the \
                 positive ones.",
                "SELECT fpr_at_tpr(source = 'known', -dismax_ood_score(img)) FROM 'mixed.parquet';",
            ),
        };
        let mut builder = Documentation::builder(SECTION, description, self.syntax()).with_sql_example(example);
        builder = match self {
            Self::Ece => builder
                .with_argument("correct", "Whether the prediction was right (boolean).")
                .with_argument("confidence", "Probability of the predicted class, in [0, 1].")
                .with_argument("bins", "Number of bins, a constant from 1."),
            Self::Brier => builder
                .with_argument("is_positive", "Whether the event came true (boolean).")
                .with_argument("probability", "Its probability, in [0, 1]."),
            Self::Auroc | Self::AveragePrecision | Self::FprAtTpr => builder
                .with_argument("is_positive", "Whether the row is of the kind that should score high (boolean).")
                .with_argument("score", "Any number; only the order counts."),
        };
        if self == Self::FprAtTpr {
            builder = builder.with_argument("tpr", "Share of positive rows to accept, a constant in (0, 1].");
        }
        builder.build()
    }
}

/// One of the aggregates: a boolean, a number and sometimes a constant.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Audit {
    kind: Aggregate,
    signature: Signature,
}

impl Audit {
    fn new(kind: Aggregate) -> Self {
        let mut forms = Vec::new();
        // Whole numbers become f64, where they stay apart; confidences stay f32, which the bins' edges are.
        let numbers =
            if kind == Aggregate::Ece { vec![DataType::Float64, DataType::Float32] } else { vec![DataType::Float64] };
        for number in numbers {
            forms.push(TypeSignature::Exact(vec![DataType::Boolean, number.clone()]));
            if kind.takes_option() {
                forms.push(TypeSignature::Exact(vec![DataType::Boolean, number, DataType::Float64]));
            }
        }
        Self { kind, signature: Signature::one_of(forms, Volatility::Immutable) }
    }

    /// The constant after boolean and number.
    fn option(&self, arguments: &AccumulatorArgs) -> Result<Option<f64>> {
        let Some(option) = arguments.exprs.get(2) else { return Ok(None) };
        let value = constant::value_of(option).map(|value| value.cast_to(&DataType::Float64));
        match value {
            Some(Ok(ScalarValue::Float64(Some(value)))) => Ok(Some(value)),
            _ => plan_err!("{}: the third argument must be a constant number", self.kind.syntax()),
        }
    }
}

impl AggregateUDFImpl for Audit {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if arguments.is_distinct {
            return not_impl_err!("{}(DISTINCT ...): the number of equal rows matters", self.name());
        }
        let option = self.option(&arguments)?;
        Ok(match self.kind {
            Aggregate::Ece => {
                let bins = option.unwrap_or(DEFAULT_BINS as f64);
                if !(1.0..=1e6).contains(&bins) || bins.fract() != 0.0 {
                    return plan_err!("{}: {bins} bins; give a whole number from 1, 15 is usual", self.kind.syntax());
                }
                Box::new(Ece::try_new(bins as usize)?)
            }
            Aggregate::Brier => Box::new(Brier::default()),
            Aggregate::Auroc => Box::new(Ranking::new(Figure::Auroc)),
            Aggregate::AveragePrecision => Box::new(Ranking::new(Figure::AveragePrecision)),
            Aggregate::FprAtTpr => {
                let tpr = option.unwrap_or(TPR);
                if !(tpr > 0.0 && tpr <= 1.0) {
                    return plan_err!("{}: a tpr of {tpr}; give a share in (0, 1]", self.kind.syntax());
                }
                Box::new(Ranking::new(Figure::FprAtTpr(tpr)))
            }
        })
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field =
            |part: &str, data_type| Arc::new(Field::new(format_state_name(arguments.name, part), data_type, true));
        let list = |part: &str, item| field(part, DataType::List(Arc::new(Field::new_list_field(item, true))));
        Ok(match self.kind {
            Aggregate::Ece => vec![
                list("rows", DataType::UInt64),
                list("confidence", DataType::Float64),
                list("correct", DataType::UInt64),
            ],
            Aggregate::Brier => vec![field("rows", DataType::UInt64), field("sum", DataType::Float64)],
            Aggregate::Auroc | Aggregate::AveragePrecision | Aggregate::FprAtTpr => {
                vec![list("positive", DataType::Float64), list("negative", DataType::Float64)]
            }
        })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        static ALL: LazyLock<Vec<(Aggregate, Documentation)>> =
            LazyLock::new(|| Aggregate::ALL.into_iter().map(|kind| (kind, kind.documentation())).collect());
        ALL.iter().find(|(kind, _)| *kind == self.kind).map(|(_, documentation)| documentation)
    }
}
