//! Exit codes. They are part of the interface: scripts depend on them, and the help of `dismax` lists them.

use std::io::ErrorKind;

use dismax::Error;
#[cfg(feature = "audit")]
use dismax_audit::AuditError;
#[cfg(feature = "train")]
use dismax_train::TrainError;

/// How a command that ran to its end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// The result is there, but something that belongs to it is not; standard error says what.
    Incomplete,
    /// The result is there, and what it says breaks a rule; standard error says which.
    Broken,
}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => 0,
            Outcome::Incomplete => 1,
            Outcome::Broken => 5,
        }
    }
}

/// 128 and the number of SIGINT, as shells give it.
pub const INTERRUPTED: u8 = 130;

/// The code of a run that failed.
pub fn code(error: &Error) -> u8 {
    match error {
        Error::Config(_)
        | Error::ColumnTaken { .. }
        | Error::PathsNotAllowed { .. }
        | Error::OutputExists { .. }
        | Error::OutputForeign { .. }
        | Error::SameOutput { .. }
        | Error::OutputIsInput { .. }
        | Error::NoTrainingFeatures { .. }
        | Error::NoUnknownExamples { .. }
        | Error::Device { .. } => 2,
        Error::Extension(inner) if is_usage(inner.as_ref()) => 2,
        Error::TooManyRowErrors { .. } => 4,
        Error::Cancelled => INTERRUPTED,
        _ => 3,
    }
}

/// Whether an error of the trainer or the audit is about its options, not about data or the course of a training.
fn is_usage(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    #[cfg(feature = "train")]
    if let Some(error) = error.downcast_ref() {
        return !matches!(error, TrainError::Diverged { .. } | TrainError::DataChanged | TrainError::Checkpoint { .. });
    }
    #[cfg(feature = "audit")]
    if let Some(error) = error.downcast_ref() {
        return !matches!(error, AuditError::GroupColumn { .. } | AuditError::TooManyRows);
    }
    let _ = error;
    false
}

/// Whether the output's reader went away, as `head` does when it has enough.
pub fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_code() {
        assert_eq!(code(&Error::Config("--lr -1".into())), 2);
        assert_eq!(code(&Error::data("a.parquet", "is empty")), 3);
        assert_eq!(code(&Error::model("model", "altered")), 3);
        assert_eq!(code(&Error::Cancelled), 130);
        let too_many = Error::TooManyRowErrors { failed: 2, rows: 2, allowed: "1".into(), example: String::new() };
        assert_eq!(code(&too_many), 4);
    }

    #[cfg(feature = "train")]
    #[test]
    fn a_training_that_fails_is_not_wrong_usage() {
        assert_eq!(code(&TrainError::HeldOutFraction { fraction: 1.5 }.into()), 2);
        assert_eq!(code(&TrainError::Diverged { epoch: 1, learning_rate: 9.0 }.into()), 3);
        assert_eq!(code(&TrainError::DataChanged.into()), 3);
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_faults() {
        assert!(is_closed_pipe(&Error::io("stdout", ErrorKind::BrokenPipe.into())));
        assert!(!is_closed_pipe(&Error::io("stdout", ErrorKind::StorageFull.into())));
    }
}
