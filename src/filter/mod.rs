//! A dataset through a model into the rows that are kept and, on request, those that are not.
//!
//! ```no_run
//! use dismax::run::Run;
//! use dismax::stage::StageOptions;
//! use dismax::{Dataset, Model, Stage};
//! use dismax::filter::{FilterOptions, Keep, filter_to};
//!
//! let stage = Stage::try_new(Model::read("models/cifar10-resnet20")?, &StageOptions::default())?;
//! let dataset = Dataset::open(&["photos.parquet"])?;
//! let options = FilterOptions { rejected: Some("unknown.parquet".into()), ..FilterOptions::new(Keep::InDist) };
//! let mut run = Run { cancel: Default::default(), progress: &mut |_| () };
//! let summary = filter_to(&stage, &dataset, "known.parquet", &options, &mut run)?;
//! println!("{} of {} rows kept", summary.kept, summary.rows);
//! # Ok::<(), dismax::Error>(())
//! ```

mod decision;
mod options;
mod outputs;
mod predicate;
mod run;

pub use self::options::{FilterOptions, FilterSummary, Flag, Keep};
pub use self::predicate::RowPredicate;
pub use self::run::filter_to;
