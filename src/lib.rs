//! Scores images in Arrow and Parquet datasets with networks trained by the DisMax loss (Macêdo, Zanchettin, Ludermir,
//! *Distinction Maximization Loss*, arXiv 2205.05874): calibrated probabilities and out-of-distribution flags as
//! columns.
//!
//! A [`Model`] is a folder: a network, the names of its classes, and what calibration found out. A [`Stage`] owns one
//! and runs it on threads or GPUs; it takes images and gives [`Scored`](stage::Scored), the logits of each image or the
//! reason why it has none. A [`Dataset`] reads Parquet, Arrow and tar files and folders of images as one sequence of
//! record batches, which [`Stage::scan`] scores in order. [`Columns`] turns logits into calibrated probabilities,
//! p-values and flags, and appends them.
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
//! A row that cannot be scored keeps its place with nulls and a [`RowError`]; an [`Error`] ends a run. Memory is
//! bounded by what is in flight, never by the dataset. Nothing is fetched but what an address names, and outputs appear
//! whole or not at all.
//!
//! Above these stand whole tasks: [`score_file`], [`embed_file`] and [`filter`] write files, [`evaluate`] measures a
//! model with the figures of [`metrics`]. The crate `dismax-train` makes models, `dismax-audit` turns a dataset into a
//! report, and `dismax-udfs` brings all of it to SQL.

pub mod calibration;
pub mod cancel;
pub mod columns;
pub mod dataset;
pub mod device;
pub mod embed_file;
pub mod embedding;
pub mod error;
pub mod evaluate;
pub mod filter;
pub mod image;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod network;
pub mod run;
pub mod score;
pub mod score_file;
pub mod stage;
pub mod tta;

// What is hidden, here and in the modules, is shared by the crates of this workspace and may change in any release.
#[doc(hidden)]
pub mod disk;
#[doc(hidden)]
pub mod location;
#[doc(hidden)]
pub mod panic;
#[doc(hidden)]
pub mod parallel;
#[doc(hidden)]
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
