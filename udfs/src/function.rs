//! The scoring functions of SQL, and what each takes besides the image and the model's name.

/// A function of an image and a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Function {
    All,
    Prediction,
    Confidence,
    Probabilities,
    TopK,
    PredictionSet,
    Embedding,
    OodScore,
    OodPValue,
    IsOod,
    Error,
}

/// What stands between the image and the model's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    /// A share, which may be left out.
    AlphaOrNothing,
    /// A share.
    Alpha,
    /// A number of classes.
    Count,
}

/// The value of what a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    Alpha(Alpha),
    Count(u32),
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

impl Function {
    pub const ALL: [Self; 11] = [
        Self::All,
        Self::Prediction,
        Self::Confidence,
        Self::Probabilities,
        Self::TopK,
        Self::PredictionSet,
        Self::Embedding,
        Self::OodScore,
        Self::OodPValue,
        Self::IsOod,
        Self::Error,
    ];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "dismax",
            Self::Prediction => "dismax_prediction",
            Self::Confidence => "dismax_confidence",
            Self::Probabilities => "dismax_probabilities",
            Self::TopK => "dismax_top_k",
            Self::PredictionSet => "dismax_prediction_set",
            Self::Embedding => "dismax_embedding",
            Self::OodScore => "dismax_ood_score",
            Self::OodPValue => "dismax_ood_p_value",
            Self::IsOod => "dismax_is_ood",
            Self::Error => "dismax_error",
        }
    }

    pub fn takes(self) -> Takes {
        match self {
            Self::IsOod => Takes::AlphaOrNothing,
            Self::PredictionSet => Takes::Alpha,
            Self::TopK => Takes::Count,
            _ => Takes::Nothing,
        }
    }
}
