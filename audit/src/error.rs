//! What can go wrong in an audit and nowhere else.

use super::kind::Kind;
use super::need::Need;

/// Why an audit cannot begin. Everything else is a [`dismax::Error`], which carries this one as
/// [`Error::Extension`](dismax::Error::Extension).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The false discovery rate is outside (0, 1).
    #[error("false discovery rate {fdr}: give a share between 0 and 1, for example 0.05")]
    FalseDiscoveryRate {
        /// The rate.
        fdr: f64,
    },
    /// A column to group by is not there or has no usable type.
    #[error("{}: {message}", if *by_day { "time column" } else { "group column" })]
    GroupColumn {
        /// Whether it was to divide the rows by day.
        by_day: bool,
        /// What is wrong, with the columns that there are.
        message: String,
    },
    /// Unknown images were to be looked for without a model.
    #[error("unknown images can only be looked for with a model; name one, or leave out the examples and marks")]
    UnknownWithoutModel,
    /// Findings are selected by what is no kind, or no severity.
    #[error("findings \"{text}\": {message}")]
    Selection {
        /// The selection.
        text: String,
        /// What there is.
        message: String,
    },
    /// A rule that cannot be read.
    #[error("rule \"{text}\": {message}")]
    Rule {
        /// The rule.
        text: String,
        /// What is wrong and what to write.
        message: String,
    },
    /// Findings that the audit does not look for were to be counted or removed.
    #[error("{kind} is not looked for without {}", needs(*.kind))]
    NotLookedFor {
        /// The kind of the findings.
        kind: Kind,
    },
    /// A kind whose findings do not say which rows are copies of which.
    #[error("of {kind} no row can be kept for the others: only exact_duplicate and near_duplicate tell copies")]
    NoCopies {
        /// The kind.
        kind: Kind,
    },
    /// More rows than the audit can count.
    #[error("more than 4,294,967,295 rows are too many for one audit; audit parts of them")]
    TooManyRows,
}

/// `a model and labels`.
fn needs(kind: Kind) -> String {
    kind.needs().iter().map(Need::to_string).collect::<Vec<_>>().join(" and ")
}

impl From<AuditError> for dismax::Error {
    fn from(error: AuditError) -> Self {
        Self::Extension(Box::new(error))
    }
}
