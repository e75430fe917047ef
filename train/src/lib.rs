//! Trains image classifiers with DisMax and related losses, and writes calibrated model bundles.
//!
//! A [`TrainJob`] says which labelled images to learn from, which rows are held out, and where the bundle goes; its
//! [`Recipe`] says which network and loss are trained and how. What a recipe leaves open follows from the network, the
//! device and the images, and is written out in [`TrainOptions`].
//!
//! [`train`] reads the datasets, trains one replica of the network per core (or one on a GPU), measures the held-out
//! rows after every epoch, calibrates on them and writes the bundle whole or not at all. A [`Run`](dismax::run::Run)
//! carries progress and cancellation; [`TrainEvent`]s tell the rest: the plan, finished epochs, a model that could not
//! be calibrated.
//!
//! A job's `init` names weights that others trained, to be trained further. [`fit_head`] leaves them as they are and
//! fits a head to the features that they give; [`fit_embeddings`] makes a model of embeddings. Both are in closed form
//! and take one pass.
//!
//! After every epoch the figures of all epochs are written next to the bundle, at [`metrics_path`], and a checkpoint at
//! [`checkpoint_path`]. A job with `resume` continues
//! from it, on a CPU to the same weights bit for bit. Errors that only a training can have are [`TrainError`]s in
//! [`dismax::Error::Extension`].
//!
//! ```no_run
//! # fn main() -> dismax::Result<()> {
//! use dismax_train::{TrainJob, train};
//!
//! let job = TrainJob::new(["train.parquet"], "model");
//! let mut run = dismax::run::Run { cancel: Default::default(), progress: &mut |_| {} };
//! let model = train(&job, &mut run, &mut |_| {})?;
//! println!("temperature {}", model.require_calibration()?.temperature);
//! # Ok(())
//! # }
//! ```

mod augment;
mod average;
mod checkpoint;
mod class_weights;
mod collector;
mod data;
mod decode;
mod device_fit;
mod device_trainer;
mod embedding_job;
mod embedding_rows;
mod embeddings;
mod error;
mod fitted;
mod flat;
mod flip;
mod frozen;
#[cfg(test)]
mod golden;
mod held_out;
mod host_fit;
mod job;
mod keep;
mod labelled_dataset;
mod labelled_embeddings;
mod labels;
mod loader;
mod metrics_file;
mod mix;
mod names;
mod normalization;
mod objective;
mod optimizer;
mod options;
mod padding;
mod pretrained;
mod recipe;
mod recipe_file;
mod replica;
mod resident;
mod row_use;
mod schedule;
mod session;
mod snapshot;
mod split;
mod statistics;
mod streaming;
mod team;
mod train;
mod training_set;
mod whitening;

pub use self::augment::Augmentation;
pub use self::class_weights::ClassWeights;
pub use self::collector::LeftOut;
pub use self::embedding_job::EmbeddingJob;
pub use self::embeddings::fit_embeddings;
pub use self::error::TrainError;
pub use self::fitted::HeadFit;
pub use self::flip::Flip;
pub use self::frozen::fit_head;
pub use self::job::{HeldOut, TrainEvent, TrainJob, TrainingPlan, checkpoint_path};
pub use self::keep::Keep;
pub use self::metrics_file::metrics_path;
pub use self::optimizer::SgdOptions;
pub use self::options::TrainOptions;
pub use self::padding::Padding;
pub use self::pretrained::architecture_of;
pub use self::recipe::Recipe;
pub use self::recipe_file::RecipeFile;
pub use self::schedule::Schedule;
pub use self::train::train;
