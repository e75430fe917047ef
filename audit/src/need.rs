//! What an audit must have to look for something.

use std::fmt;

/// Something that not every audit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// A model, which is calibrated.
    Model,
    /// Rows with a label.
    Labels,
    /// A model, or a reference whose rows have labels.
    KnownLabels,
    /// A reference.
    Reference,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "a model",
            Self::Labels => "labels",
            Self::KnownLabels => "a model or a reference with labels",
            Self::Reference => "a reference",
        })
    }
}
