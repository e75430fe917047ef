//! Scores images in Arrow and Parquet datasets with networks trained by the DisMax loss (Macêdo, Zanchettin, Ludermir,
//! *Distinction Maximization Loss*, arXiv 2205.05874): calibrated probabilities and out-of-distribution flags as
//! columns.
//!
//! Data flows one way: [`dataset`] reads rows, [`image`] decodes them, [`stage`] gathers them into batches and runs the
//! [`network`], [`score`] and [`calibration`] turn logits into probabilities and p-values, [`columns`] appends them.
//! [`model`] keeps a network in a folder; the crate `dismax-train` makes them, and `dismax-audit` turns a dataset into a report.
//!
//! ```no_run
//! # use dismax::{Columns, Dataset, Model, Stage};
//! # fn main() -> dismax::Result<()> {
//! let stage = Stage::try_new(Model::read("models/cifar10-resnet20")?, &Default::default())?;
//! let dataset = Dataset::open(&["photos.parquet"])?;
//! let columns = Columns::try_new(&stage, "")?;
//! let schema = columns.schema(dataset.schema())?;
//! for scored in stage.scan(&dataset, None, Default::default())? {
//!     let (chunk, scored) = scored?;
//!     println!("{:?}", columns.append(&chunk.record_batch, &scored, &schema)?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A row that cannot be scored keeps its place with nulls and a [`RowError`]; an [`Error`] ends a run.

pub mod calibration;
pub mod cancel;
pub mod columns;
pub mod dataset;
pub mod device;
pub mod disk;
pub mod error;
pub mod evaluate;
pub mod filter;
pub mod image;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod network;
pub mod panic;
pub mod parallel;
pub mod run;
pub mod score;
pub mod score_file;
pub mod stage;
pub mod text;

pub use columns::Columns;
pub use dataset::Dataset;
pub use device::Device;
pub use error::{Error, Result, RowError, RowErrorCode};
pub use model::Model;
pub use stage::Stage;

// Compiles the programs of the page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
