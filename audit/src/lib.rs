//! Audits: one pass over a dataset's images turns it into a report that a person can look at and a table that a program
//! can query.
//!
//! [`audit`] scores and inspects every image once and keeps a small record of each; from these come unknown images,
//! probably wrong labels, calibration, drift, broken and odd files, duplicates, and groups of rows in which such
//! findings pile up. [`audit_images`] needs no model and leaves out what only one can tell. What they find stands in a
//! folder of three files: `findings.parquet` (one row per finding, joinable to the data by file and row),
//! `summary.json` ([`AuditSummary`]) and `report.html`, which needs no other file and no network. [`compare`] does the
//! same for what changed between two audits. [`inspection`] is what both know of an image without a network.
//!
//! What follows works on such a folder: [`gate`] counts its findings under rules, [`Cleaning`] writes the dataset
//! without the rows that were found, and [`LabelStudioExport`] makes tasks for people. [`ReviewOptions`] say which
//! findings are known already, from an earlier audit or because somebody accepted them.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use dismax::run::Run;
//! use dismax::stage::StageOptions;
//! use dismax::{Dataset, Model, Stage};
//! use dismax_audit::{AuditInputs, AuditOptions, audit};
//!
//! let stage = Stage::try_new(Model::read("models/cifar10-resnet20")?, &StageOptions::default())?;
//! let dataset = Dataset::open(&["images/*.parquet"])?;
//! let options = AuditOptions { group_by: vec!["camera".into()], ..AuditOptions::default() };
//! let mut run = Run { cancel: Default::default(), progress: &mut |_| () };
//! let summary = audit(&stage, &AuditInputs::new(&dataset), Path::new("audit"), &options, &mut run)?;
//! println!("{} findings in {} rows", summary.findings, summary.rows);
//! # Ok::<(), dismax::Error>(())
//! ```
//!
//! Memory grows by about 300 bytes for each different image and 80 for each row, where very many images look alike by
//! up to twice that; images and thumbnails are not kept in it. A temporary file beside the output holds 1 to 3 KB for
//! each different image while the audit runs. Time grows with the rows, and a little faster with the different images
//! among them, whose near duplicates are searched.

mod checks;
mod clean;
mod collect;
mod compare;
mod digest;
mod duplicates;
mod error;
mod evidence;
mod findings;
mod foreign_labels;
mod format;
mod gate;
mod groups;
mod hash_table;
mod history;
pub mod inspection;
mod kind;
mod known_unknown;
mod label_classes;
mod label_studio;
mod likeness;
mod model_summary;
mod need;
mod novelty;
mod observer;
mod occurrences;
mod options;
mod parallel;
mod pictures;
mod place;
mod quality;
mod report;
mod review;
mod revisit;
mod rows;
mod run;
mod scan;
mod sections;
mod selection;
mod stored;
mod summary;
mod table;
mod text;
mod thumbnails;
mod trend;
mod view;

pub use self::checks::{
    AccuracyEstimate, Association, CalibrationFigures, ClassAccuracy, ClassAccuracyFigures, ClassBalanceFigures,
    ClassNoise, ClassShare, ConfidenceGap, Coverage, CoverageFigures, DriftFigures, DriftTest,
    EstimatedAccuracyFigures, JointCell, LabelFigures, Property, PropertyCorrelation, QualityFigures, Quantity,
    RobustScale, Slice, SliceFigures, SpuriousCorrelationFigures, Strangest, UnknownFigures, UnseenLabel,
    UnseenLabelFigures,
};
pub use self::clean::{CleanFigures, CleanOptions, Cleaning};
pub use self::compare::{Comparison, KindChange, compare};
pub use self::duplicates::DuplicateFigures;
pub use self::error::AuditError;
pub use self::gate::{Example, GateReport, KindCount, Rule, RuleResult, gate};
pub use self::history::{History, HistoryEntry};
#[doc(hidden)]
pub use self::inspection::thumbnail;
pub use self::kind::{Kind, Severity};
pub use self::known_unknown::Marks;
pub use self::label_studio::{LabelStudioExport, LabelStudioFigures, LabelStudioOptions};
pub use self::model_summary::ModelSummary;
pub use self::need::Need;
pub use self::novelty::UnknownMethod;
#[doc(hidden)]
pub use self::observer::{ImageObserver, ObservedImage};
pub use self::options::{AuditInputs, AuditOptions};
pub use self::review::{Acceptance, Acceptances, ReviewFigures, ReviewOptions, acceptance_template};
pub use self::revisit::RevisitOptions;
pub use self::run::{audit, audit_images};
pub use self::selection::Selection;
pub use self::summary::AuditSummary;
