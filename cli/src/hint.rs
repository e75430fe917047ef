//! What a user of the command can do about an error. The libraries know no flags; this is the one place that does.

use dismax::Error;
use dismax::error::ColumnRole;
#[cfg(feature = "audit")]
use dismax_audit::{AuditError, Need};
#[cfg(feature = "train")]
use dismax_train::TrainError;

/// The way out in the command's words, to follow the error's own message.
pub fn hint(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Column { role: ColumnRole::Image, .. } => "--image COLUMN names the images, also a column of file paths",
        Error::Column { role: ColumnRole::Embedding, .. } => "--embedding COLUMN names the embeddings",
        Error::Column { role: ColumnRole::Label, .. } => "--label COLUMN names the labels",
        Error::ColumnTaken { .. } => "--prefix gives the new columns other names, for example --prefix dismax_",
        Error::PathsNotAllowed { .. } => "--read-paths opens the files that they name",
        Error::Row { .. } => "--on-error null keeps such rows, with nulls",
        Error::OutputExists { .. } => "choose another name, or replace it with --force",
        Error::PartsDiffer { .. } => "choose another folder, or start over with --force",
        Error::OutputForeign { .. } => "it is not replaced even with --force",
        Error::OutputIsInput { .. } | Error::SameOutput { .. } => "give one of them another name",
        Error::ModelAsDataset { .. } => "--model names the model",
        Error::DeltaTable { .. } => "its rows can also be piped in as an Arrow stream (docs/data.md)",
        Error::NotCalibrated { .. } => "first run: dismax calibrate MODEL --data VALIDATION",
        Error::NoTrainingFeatures { .. } => "dismax calibrate MODEL --data VALIDATION --training TRAINING reads them",
        Error::NoUnknownExamples { .. } => "dismax calibrate MODEL --data VALIDATION --unknown EXAMPLES gives them",
        Error::Device { .. } => "--device cpu works without",
        Error::DeviceFailed { .. } => "a smaller --batch-size takes less of its memory, --device cpu none",
        Error::TooManyRowErrors { .. } => {
            "without --max-errors all rows are kept, and --errors FILE writes the failed ones to a file of their own"
        }
        Error::Extension(error) => return extension(error.as_ref()),
        _ => return None,
    })
}

/// The hint for an error of the trainer or the audit, where the build has them.
fn extension(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<&'static str> {
    #[cfg(feature = "train")]
    if let Some(error) = error.downcast_ref() {
        return training(error);
    }
    #[cfg(feature = "audit")]
    if let Some(error) = error.downcast_ref() {
        return audit(error);
    }
    let _ = error;
    None
}

#[cfg(feature = "train")]
fn training(error: &TrainError) -> Option<&'static str> {
    Some(match error {
        TrainError::HeldOutFraction { .. } | TrainError::NothingHeldOut { .. } => {
            "--validation takes a larger fraction such as 0.2, or files"
        }
        TrainError::NothingToChooseBy { .. } => "without --keep best the last epoch is kept",
        TrainError::Memory { .. } => "allow more with --memory, or hold fewer rows out with --validation",
        TrainError::Overlap { .. } => "--validation names the files to hold out",
        TrainError::ImageTooSmall { .. } => "give a larger --image-size",
        TrainError::CropsNeeded => "leave --no-crop out",
        TrainError::BatchTooSmall { .. } => "raise --batch-size or add rows",
        TrainError::Unfinished { .. } => "--resume continues it, --force begins again",
        TrainError::Checkpoint { .. } => "train again with --force and without --resume",
        TrainError::OtherTraining { .. } => "resume with the same, or begin again with --force and without --resume",
        TrainError::Diverged { .. } => "lower --lr",
        _ => return None,
    })
}

#[cfg(feature = "audit")]
fn audit(error: &AuditError) -> Option<&'static str> {
    Some(match error {
        AuditError::FalseDiscoveryRate { .. } => "--fdr sets it",
        AuditError::GroupColumn { by_day: true, .. } => "--time names a column of times",
        AuditError::GroupColumn { by_day: false, .. } => "--group-by names columns to group by",
        AuditError::NotLookedFor { kind } => match kind.needs() {
            [Need::Model] => "audit with --model",
            [Need::Reference] => "audit with --reference",
            [Need::Labels, Need::KnownLabels] => "audit with --label, and --model or --reference",
            _ => "audit with --model and --label",
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_follows_its_error() {
        let exists = Error::OutputExists { path: "out.parquet".into() };
        assert!(hint(&exists).is_some_and(|hint| hint.contains("--force")));
        assert_eq!(hint(&Error::Cancelled), None);
    }

    #[cfg(feature = "train")]
    #[test]
    fn trainings_have_hints() {
        let diverged = Error::from(TrainError::Diverged { epoch: 3, learning_rate: 9.0 });
        assert_eq!(hint(&diverged), Some("lower --lr"));
    }

    #[cfg(feature = "audit")]
    #[test]
    fn audits_have_hints() {
        use dismax_audit::Kind;

        let time = Error::from(AuditError::GroupColumn { by_day: true, message: "there is no column \"t\"".into() });
        assert!(hint(&time).is_some_and(|hint| hint.contains("--time")));
        let hints = Kind::ALL.into_iter().filter(|kind| !kind.needs().is_empty());
        let hints: Vec<_> =
            hints.map(|kind| hint(&AuditError::NotLookedFor { kind }.into()).expect("a hint")).collect();
        assert_eq!(hints[..2], ["audit with --model", "audit with --model and --label"]);
        assert_eq!(
            hints[2..],
            ["audit with --label, and --model or --reference", "audit with --reference", "audit with --reference"]
        );
    }
}
