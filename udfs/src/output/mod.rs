//! What a query can ask of a scored image, and the array that answers it.

mod top_k;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use dismax::columns::{Columns, ScoredColumn, ScoredColumns, embedding_type, embeddings, prediction_set_field};
use dismax::stage::Scored;

use crate::function::{Alpha, Function, Parameter, Takes};
use crate::models::external;

/// One answer of the scoring stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Output {
    /// All of [`ScoredColumn`], as a struct.
    All,
    /// One of them, `is_ood` at the model's alpha.
    Column(ScoredColumn),
    /// At another alpha.
    IsOodAt(Alpha),
    /// So many of the most probable classes.
    TopK(u32),
    PredictionSet(Alpha),
    /// The features that the head sees.
    Embedding,
}

impl Output {
    /// What a function gives for this parameter; none for one that it does not take, or where it lacks the one it
    /// takes.
    pub fn of(function: Function, parameter: Option<Parameter>) -> Option<Self> {
        let column = match function {
            Function::All => return parameter.is_none().then_some(Self::All),
            Function::Embedding => return parameter.is_none().then_some(Self::Embedding),
            Function::Prediction => ScoredColumn::Prediction,
            Function::Confidence => ScoredColumn::Confidence,
            Function::Probabilities => ScoredColumn::Probabilities,
            Function::OodScore => ScoredColumn::OodScore,
            Function::OodPValue => ScoredColumn::OodPValue,
            Function::IsOod => ScoredColumn::IsOod,
            Function::Error => ScoredColumn::Error,
            Function::TopK | Function::PredictionSet => {
                return match (function.takes(), parameter?) {
                    (Takes::Count, Parameter::Count(count)) => Some(Self::TopK(count)),
                    (Takes::Alpha, Parameter::Alpha(alpha)) => Some(Self::PredictionSet(alpha)),
                    _ => None,
                };
            }
        };
        match (function.takes(), parameter) {
            (_, None) => Some(Self::Column(column)),
            (Takes::AlphaOrNothing, Some(Parameter::Alpha(alpha))) => Some(Self::IsOodAt(alpha)),
            _ => None,
        }
    }

    /// The function that gives it.
    pub fn function(self) -> Function {
        match self {
            Self::All => Function::All,
            Self::IsOodAt(_) => Function::IsOod,
            Self::TopK(_) => Function::TopK,
            Self::PredictionSet(_) => Function::PredictionSet,
            Self::Embedding => Function::Embedding,
            Self::Column(column) => match column {
                ScoredColumn::Prediction => Function::Prediction,
                ScoredColumn::Confidence => Function::Confidence,
                ScoredColumn::Probabilities => Function::Probabilities,
                ScoredColumn::OodScore => Function::OodScore,
                ScoredColumn::OodPValue => Function::OodPValue,
                ScoredColumn::IsOod => Function::IsOod,
                ScoredColumn::Error => Function::Error,
            },
        }
    }

    /// What the function is given for it.
    pub fn parameter(self) -> Option<Parameter> {
        match self {
            Self::All | Self::Column(_) | Self::Embedding => None,
            Self::IsOodAt(alpha) | Self::PredictionSet(alpha) => Some(Parameter::Alpha(alpha)),
            Self::TopK(count) => Some(Parameter::Count(count)),
        }
    }

    /// Type and nullability under a name.
    pub fn field(self, columns: &Columns, name: impl Into<String>) -> Field {
        match self {
            Self::All => Field::new(name, DataType::Struct(columns_of(columns)), false),
            Self::Column(column) => columns.field(column).clone().with_name(name),
            Self::IsOodAt(_) => Field::new(name, DataType::Boolean, true),
            Self::TopK(_) => Field::new(name, top_k::data_type(), true),
            Self::PredictionSet(_) => prediction_set_field(name),
            Self::Embedding => Field::new(name, embedding_type(columns.model()), true),
        }
    }

    /// Checks what the planner can know.
    pub fn check(self, columns: &Columns) -> Result<()> {
        match self {
            Self::IsOodAt(alpha) => columns.clone().with_alpha(alpha.get()).map(|_| ()).map_err(external),
            Self::PredictionSet(alpha) => columns.set_thresholds(alpha.get()).map(|_| ()).map_err(external),
            Self::All | Self::Column(_) | Self::TopK(_) | Self::Embedding => Ok(()),
        }
    }

    /// Whether the network's pooled features are wanted for it.
    pub fn needs_features(self) -> bool {
        self == Self::Embedding
    }

    /// The array for rows that were `answered`, with features where an output needs them, and what was made of them.
    pub fn array(self, columns: &Columns, answered: &Scored, scored: &ScoredColumns) -> Result<ArrayRef> {
        match self {
            Self::All => {
                let fields = columns_of(columns);
                let arrays = scored.arrays.iter().take(fields.len()).cloned().collect();
                Ok(Arc::new(StructArray::try_new(fields, arrays, None)?))
            }
            Self::Column(column) => Ok(Arc::clone(scored.array(column))),
            Self::IsOodAt(alpha) => {
                let flags = scored.p_values.iter().map(|p_value| p_value.map(|p_value| p_value <= alpha.get()));
                Ok(Arc::new(flags.collect::<BooleanArray>()))
            }
            Self::Embedding => embeddings(answered).map_err(external),
            Self::TopK(count) => top_k::array(columns, scored, count),
            Self::PredictionSet(alpha) => {
                let thresholds = columns.set_thresholds(alpha.get()).map_err(external)?;
                columns.prediction_sets(scored, &thresholds).map_err(external)
            }
        }
    }
}

/// The columns that scoring always appends.
fn columns_of(columns: &Columns) -> Fields {
    ScoredColumn::all().map(|column| columns.field(column).clone()).collect()
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Column(column) => f.write_str(column.name()),
            Self::IsOodAt(alpha) => write!(f, "is_ood_at_{}", alpha.get()),
            Self::TopK(count) => write!(f, "top_{count}"),
            Self::Embedding => f.write_str("embedding"),
            Self::PredictionSet(alpha) => write!(f, "prediction_set_at_{}", alpha.get()),
        }
    }
}
