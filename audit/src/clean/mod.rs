//! From a dataset and its audit to a clean dataset: the rows that are kept and, beside them, those that are not, with
//! why.
//!
//! [`Cleaning::plan`] decides from the findings alone, so that its counts can be looked at first; [`Cleaning::write`]
//! reads the audited rows again and writes both files. Together they hold the audited rows; the audited files stay as
//! they are.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use dismax::run::Run;
//! use dismax_audit::{CleanOptions, Cleaning, Kind};
//!
//! let options = CleanOptions { keep_one: vec![Kind::ExactDuplicate], ..CleanOptions::default() };
//! let mut run = Run { cancel: Default::default(), progress: &mut |_| () };
//! let cleaning = Cleaning::plan(Path::new("audit"), &options, &run.cancel)?;
//! println!("{} rows will be removed", cleaning.figures().removed);
//! let figures = cleaning.write("kept.parquet", "removed.parquet", &mut run)?;
//! assert_eq!(figures.kept + figures.removed, figures.rows);
//! # Ok::<(), dismax::Error>(())
//! ```

mod copies;
mod options;
mod outputs;
mod plan;
mod removal;

pub use self::options::{CleanFigures, CleanOptions};
pub use self::plan::Cleaning;
