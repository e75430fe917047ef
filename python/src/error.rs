//! Failures of the libraries as Python's exceptions, each with a way out in Python's words.

use std::error::Error as StdError;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use dismax::Error;
use dismax::error::ColumnRole;
use dismax_audit::{AuditError, Need};
use dismax_train::TrainError;
use dismax_udfs::NoModel;
use pyo3::prelude::*;
use pyo3::types::PyAnyMethods;

use crate::lock::Raised;

/// The classes of `dismax._errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Arguments that do not fit each other, the data or the machine.
    Usage,
    /// Data that cannot be read.
    Data,
    /// A model that cannot be used.
    Model,
    /// Something is where an output should go, or it cannot be written.
    Output,
    /// A device that is not there, or failed.
    Device,
    /// The process is a copy of one that used the package.
    Fork,
    /// Whatever else.
    Other,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Usage => "UsageError",
            Self::Data => "DataError",
            Self::Model => "ModelError",
            Self::Output => "OutputError",
            Self::Device => "DeviceError",
            Self::Fork => "ForkError",
            Self::Other => "Error",
        }
    }

    /// An exception of this class.
    pub fn raise(self, message: impl Into<String>) -> PyErr {
        let message = message.into();
        Python::attach(|py| {
            let class = py.import("dismax._errors").and_then(|module| module.getattr(self.class()));
            match class.and_then(|class| class.call1((message,))) {
                Ok(instance) => PyErr::from_value(instance),
                Err(error) => error,
            }
        })
    }
}

/// A failure of the scoring library or of those that build on it.
pub fn from_dismax(error: &Error) -> PyErr {
    if matches!(error, Error::Cancelled) {
        return pyo3::exceptions::PyKeyboardInterrupt::new_err(());
    }
    if let Some(raised) = raised(error) {
        return raised;
    }
    let hint = hint(error).map(|hint| format!("; {hint}")).unwrap_or_default();
    kind(error).raise(format!("{error}{hint}"))
}

/// A failed query.
pub fn from_query(error: &DataFusionError) -> PyErr {
    let root = error.find_root();
    if let Some(raised) = raised(root) {
        return raised;
    }
    match root {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(error) => from_dismax(error),
            None if inner.is::<NoModel>() => {
                Kind::Usage.raise(format!("{NoModel}; give the session one: dismax.Session(name=model)"))
            }
            None => Kind::Data.raise(inner.to_string()),
        },
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Diagnostic(..)
        | DataFusionError::Collection(_) => Kind::Usage.raise(root.to_string()),
        other => Kind::Data.raise(other.to_string()),
    }
}

/// Arrays or schemas that do not fit.
pub fn from_arrow(error: &ArrowError) -> PyErr {
    raised(error).unwrap_or_else(|| Kind::Data.raise(error.to_string()))
}

/// What Python code raised on the way, such as a generator that gives the input.
fn raised(error: &(dyn StdError + 'static)) -> Option<PyErr> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(raised) = error.downcast_ref::<Raised>() {
            return Some(Python::attach(|py| raised.clone_ref(py)));
        }
        next = match error.downcast_ref() {
            Some(DataFusionError::External(inner)) => Some(&**inner),
            Some(DataFusionError::Shared(inner)) => Some(&**inner),
            Some(DataFusionError::ArrowError(inner, _)) => Some(&**inner),
            Some(DataFusionError::Context(_, inner)) => Some(&**inner),
            _ => match error.downcast_ref() {
                Some(ArrowError::ExternalError(inner)) => Some(&**inner),
                _ => error.source(),
            },
        };
    }
    None
}

fn kind(error: &Error) -> Kind {
    match error {
        Error::Config(_) | Error::ColumnTaken { .. } | Error::PathsNotAllowed { .. } | Error::Column { .. } => {
            Kind::Usage
        }
        Error::OutputExists { .. }
        | Error::OutputForeign { .. }
        | Error::SameOutput { .. }
        | Error::OutputIsInput { .. }
        | Error::PartsDiffer { .. } => Kind::Output,
        Error::Device { .. } | Error::DeviceFailed { .. } => Kind::Device,
        Error::Model { .. } | Error::NotCalibrated { .. } => Kind::Model,
        Error::Extension(inner) if is_usage(inner.as_ref()) => Kind::Usage,
        Error::Internal(_) | Error::Tensor(_) | Error::Extension(_) => Kind::Other,
        _ => Kind::Data,
    }
}

fn is_usage(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    match error.downcast_ref::<TrainError>() {
        Some(error) => {
            !matches!(error, TrainError::Diverged { .. } | TrainError::DataChanged | TrainError::Checkpoint { .. })
        }
        None => error.downcast_ref::<AuditError>().is_some_and(|error| !matches!(error, AuditError::TooManyRows)),
    }
}

/// What a caller can do about it.
fn hint(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Column { role: ColumnRole::Image, .. } => "image=\"COLUMN\" names the images",
        Error::Column { role: ColumnRole::Label, .. } => "label=\"COLUMN\" names the labels",
        Error::ColumnTaken { .. } => "prefix=\"dismax_\" gives the new columns other names",
        Error::PathsNotAllowed { .. } => "dismax.Model(..., read_paths=True) opens the files that they name",
        Error::OutputExists { .. } => "choose another name, or replace it with overwrite=True",
        Error::OutputForeign { .. } => "it is not replaced even with overwrite=True",
        Error::OutputIsInput { .. } | Error::SameOutput { .. } => "give one of them another name",
        Error::ModelAsDataset { .. } => "open it with dismax.Model",
        Error::DeltaTable { .. } => "another reader's Arrow table or stream can be given instead",
        Error::NotCalibrated { .. } => "first run: dismax calibrate MODEL --data VALIDATION",
        Error::Device { .. } => "device=\"cpu\" works without",
        Error::DeviceFailed { .. } => "device=\"cpu\" takes none of its memory",
        Error::Extension(error) => match error.downcast_ref() {
            Some(error) => return training(error),
            None => return audit(error.downcast_ref()?),
        },
        _ => return None,
    })
}

fn training(error: &TrainError) -> Option<&'static str> {
    Some(match error {
        TrainError::HeldOutFraction { .. } | TrainError::NothingHeldOut { .. } => {
            "validation takes a larger fraction such as 0.2, or files"
        }
        TrainError::Memory { .. } => "allow more with memory=BYTES, or hold fewer rows out with validation",
        TrainError::Overlap { .. } => "validation names the files to hold out",
        TrainError::ImageTooSmall { .. } => "give a larger image_size",
        TrainError::CropsNeeded => "leave crop=False out",
        TrainError::BatchTooSmall { .. } => "raise batch_size or add rows",
        TrainError::Unfinished { .. } => "resume=True continues it, overwrite=True begins again",
        TrainError::Checkpoint { .. } => "train again with overwrite=True and without resume",
        TrainError::OtherTraining { .. } => {
            "resume with the same, or begin again with overwrite=True and without resume"
        }
        TrainError::Diverged { .. } => "lower lr",
        _ => return None,
    })
}

fn audit(error: &AuditError) -> Option<&'static str> {
    Some(match error {
        AuditError::GroupColumn { by_day: true, .. } => "time=\"COLUMN\" names a column of times",
        AuditError::GroupColumn { by_day: false, .. } => "group_by names columns to group by",
        AuditError::NotLookedFor { kind } => match kind.needs() {
            [Need::Model] => "audit with a model",
            [Need::Reference] => "audit with reference=DATA",
            [Need::Labels, Need::KnownLabels] => "audit with label=\"COLUMN\", and a model or reference=DATA",
            _ => "audit with a model and label=\"COLUMN\"",
        },
        _ => return None,
    })
}
