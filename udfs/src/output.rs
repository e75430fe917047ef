//! What a query can ask of a scored image, and the array that answers it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use dismax::columns::{Columns, ScoredColumn, ScoredColumns};

use crate::models::external;

/// One answer of the scoring stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Output {
    /// All of them, as a struct.
    All,
    Prediction,
    Confidence,
    Probabilities,
    OodScore,
    OodPValue,
    /// At the model's alpha.
    IsOod,
    /// At another alpha.
    IsOodAt(Alpha),
    Error,
}

/// An alpha that can be compared and hashed: the bits of a float in (0, 1), which order as the floats do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Alpha(u64);

impl Alpha {
    pub fn new(alpha: f64) -> Self {
        Self(alpha.to_bits())
    }

    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }

    #[cfg(feature = "codec")]
    pub fn bits(self) -> u64 {
        self.0
    }

    #[cfg(feature = "codec")]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl Output {
    /// The outputs that have a function.
    pub const ALL: [Self; 8] = [
        Self::All,
        Self::Prediction,
        Self::Confidence,
        Self::Probabilities,
        Self::OodScore,
        Self::OodPValue,
        Self::IsOod,
        Self::Error,
    ];

    /// The outputs that [`Columns`] appends, in its order.
    pub const COLUMNS: [Self; 7] = [
        Self::Prediction,
        Self::Confidence,
        Self::Probabilities,
        Self::OodScore,
        Self::OodPValue,
        Self::IsOod,
        Self::Error,
    ];

    /// Name of the function.
    pub fn function(self) -> &'static str {
        match self {
            Self::All => "dismax",
            Self::Prediction => "dismax_prediction",
            Self::Confidence => "dismax_confidence",
            Self::Probabilities => "dismax_probabilities",
            Self::OodScore => "dismax_ood_score",
            Self::OodPValue => "dismax_ood_p_value",
            Self::IsOod | Self::IsOodAt(_) => "dismax_is_ood",
            Self::Error => "dismax_error",
        }
    }

    /// The appended column that it is; none for what is made of several.
    fn column(self) -> Option<ScoredColumn> {
        Some(match self {
            Self::All | Self::IsOodAt(_) => return None,
            Self::Prediction => ScoredColumn::Prediction,
            Self::Confidence => ScoredColumn::Confidence,
            Self::Probabilities => ScoredColumn::Probabilities,
            Self::OodScore => ScoredColumn::OodScore,
            Self::OodPValue => ScoredColumn::OodPValue,
            Self::IsOod => ScoredColumn::IsOod,
            Self::Error => ScoredColumn::Error,
        })
    }

    /// Type and nullability under a name.
    pub fn field(self, columns: &Columns, name: impl Into<String>) -> Field {
        match (self, self.column().map(|column| columns.field(column))) {
            (_, Some(field)) => field.clone().with_name(name),
            (Self::All, None) => Field::new(name, DataType::Struct(Fields::from(columns.fields().to_vec())), false),
            (_, None) => Field::new(name, DataType::Boolean, true),
        }
    }

    /// Checks what the planner can know.
    pub fn check(self, columns: &Columns) -> Result<()> {
        match self {
            Self::IsOodAt(alpha) => columns.clone().with_alpha(alpha.get()).map(|_| ()).map_err(external),
            _ => Ok(()),
        }
    }

    /// The array for judged rows.
    pub fn array(self, columns: &Columns, scored: &ScoredColumns) -> Result<ArrayRef> {
        match (self, self.column().map(|column| scored.array(column))) {
            (_, Some(array)) => Ok(Arc::clone(array)),
            (Self::IsOodAt(alpha), None) => {
                let flags = scored.p_values.iter().map(|p_value| p_value.map(|p_value| p_value <= alpha.get()));
                Ok(Arc::new(flags.collect::<BooleanArray>()))
            }
            (_, None) => {
                let fields = Fields::from(columns.fields().to_vec());
                Ok(Arc::new(StructArray::try_new(fields, scored.arrays.clone(), None)?))
            }
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Prediction => f.write_str("prediction"),
            Self::Confidence => f.write_str("confidence"),
            Self::Probabilities => f.write_str("probabilities"),
            Self::OodScore => f.write_str("ood_score"),
            Self::OodPValue => f.write_str("ood_p_value"),
            Self::IsOod => f.write_str("is_ood"),
            Self::IsOodAt(alpha) => write!(f, "is_ood_at_{}", alpha.get()),
            Self::Error => f.write_str("error"),
        }
    }
}
