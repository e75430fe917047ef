//! Training: labelled images to the weights of a network.

mod augment;
mod checkpoint;
mod data;
mod job;
mod labels;
mod loader;
mod mix;
mod objective;
mod optimizer;
mod options;
mod pass;
mod prepare;
mod reading;
mod recipe;
mod run;
mod schedule;
mod source;
mod split;
mod statistics;
mod streaming;
mod worker;

pub use self::augment::{Augmentation, Augmenter};
pub use self::checkpoint::{Checkpoint, TrainingData, TrainingState};
pub use self::data::{Example, Examples, InMemory, LabelledImages};
pub use self::job::{HeldOut, JobEvent, TrainJob, checkpoint_path, train};
pub use self::labels::RowLabels;
pub use self::mix::{mix_labels, mix_quadrants};
pub use self::objective::objective;
pub use self::optimizer::{Sgd, SgdOptions, flatten, unflatten};
pub use self::options::TrainOptions;
pub use self::reading::{DecodedRows, Reading};
pub use self::recipe::Recipe;
pub use self::run::{TrainContext, TrainEvent, Trained, run};
pub use self::schedule::Schedule;
pub use self::split::{Split, stratified_split};
pub use self::streaming::Streaming;
