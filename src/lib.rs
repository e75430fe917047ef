//! Scores images in Arrow and Parquet datasets with networks trained by the DisMax loss (Macêdo, Zanchettin, Ludermir,
//! *Distinction Maximization Loss*, arXiv 2205.05874): calibrated probabilities and out-of-distribution flags as columns.
//!
//! Data flows one way: [`dataset`] reads rows, [`image`] decodes them, [`stage`] gathers them into batches and runs the
//! [`network`], [`score`] and [`calibration`] turn logits into probabilities and p-values, [`columns`] appends them.
//! [`model`] keeps a network in a folder; the crate `dismax-train` makes them, and `dismax-audit` turns a dataset into a report.
//!
//! ```no_run
//! use dismax::columns::Columns;
//! use dismax::dataset::Dataset;
//! use dismax::model::Model;
//! use dismax::stage::{Stage, StageOptions};
//!
//! # fn main() -> dismax::Result<()> {
//! let model = Model::read("models/cifar10-resnet20")?;
//! let stage = Stage::new(&model, &StageOptions::default())?;
//! let dataset = Dataset::open(&["photos.parquet"])?;
//! let columns = Columns::new(&model, "")?;
//! let schema = columns.schema(dataset.schema())?;
//!
//! let chunks = dataset.read(stage.chunk_rows(&dataset), None)?;
//! for scored in stage.score(stage.image_column(&dataset)?, chunks) {
//!     let (chunk, scored) = scored?;
//!     let record_batch = columns.append(&chunk.record_batch, &scored, &schema)?;
//!     println!("{} rows with {} columns", record_batch.num_rows(), record_batch.num_columns());
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
pub mod error;
pub mod evaluate;
pub mod head;
pub mod image;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod network;
pub mod parallel;
pub mod score;
pub mod scoring;
pub mod stage;

pub use device::Device;
pub use error::{Error, Result, RowError, RowErrorCode};
