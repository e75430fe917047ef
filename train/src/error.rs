//! What can go wrong in a training and nowhere else.

use std::path::PathBuf;

use dismax::network::Architecture;

/// Why a training cannot begin or go on. Everything else is a [`dismax::Error`], which carries this one as
/// [`Error::Extension`](dismax::Error::Extension).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The share of rows to hold out is not between 0 and 1.
    #[error("cannot hold out a fraction of {fraction}: give one between 0 and 1, or files")]
    HeldOutFraction {
        /// The share.
        fraction: f64,
    },
    /// No row is left to validate and calibrate on.
    #[error(
        "no row is held out for validation and calibration: every class is too small for this fraction{}",
        listed(example)
    )]
    NothingHeldOut {
        /// A row that was left out, with its reason.
        example: Option<String>,
    },
    /// No row is left to choose the best epoch by.
    #[error(
        "no row is left to choose the best epoch by: every class is too small for a tenth of its own{}",
        listed(example)
    )]
    NothingToChooseBy {
        /// A row that was left out, with its reason.
        example: Option<String>,
    },
    /// The held-out images leave too little memory.
    #[error(
        "the {images} held-out images take {} MiB of the {} MiB allowed, which leaves too little to shuffle in; at least {} \
         MiB are needed",
        held_out_bytes >> 20, allowed_bytes >> 20, (needed_bytes >> 20) + 1
    )]
    Memory {
        /// Held-out images.
        images: usize,
        /// Their bytes.
        held_out_bytes: u64,
        /// Bytes that decoded images may take.
        allowed_bytes: u64,
        /// Bytes that would do.
        needed_bytes: u64,
    },
    /// A file is both trained on and held out.
    #[error("{} is given both to train on and to hold out; take it out of one of the two", path.display())]
    Overlap {
        /// The file.
        path: PathBuf,
    },
    /// Images are too small for the network.
    #[error("{architecture} needs images of at least {smallest}x{smallest} pixels, not {height}x{width}")]
    ImageTooSmall {
        /// The network.
        architecture: Architecture,
        /// Its smallest side.
        smallest: u32,
        /// Rows asked for.
        height: u32,
        /// Columns asked for.
        width: u32,
    },
    /// Photographs come in many sizes, and random crops bring them to one.
    #[error("photographs are cut to the network's size by random crops, which cannot be left out")]
    CropsNeeded,
    /// Batches are too small for the loss or for batch norm.
    #[error(
        "{loss} needs batches of at least {smallest} rows, but batches of {batch_size} over {rows} training rows are smaller"
    )]
    BatchTooSmall {
        /// The loss.
        loss: dismax::loss::Loss,
        /// Fewest rows of a batch.
        smallest: usize,
        /// Rows asked for.
        batch_size: usize,
        /// Training rows.
        rows: usize,
    },
    /// Any other value that no training can run with.
    #[error("{0}")]
    Options(String),
    /// A file is no recipe.
    #[error("{}: not a recipe: {reason}", path.display())]
    RecipeFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint of an interrupted training is in the way.
    #[error("{} is an unfinished training", path.display())]
    Unfinished {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The checkpoint cannot be continued from.
    #[error("{}: not a usable checkpoint ({reason})", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint was made with other options or other data.
    #[error("{}: this training was begun with other {what}: {here} instead of {there}", path.display())]
    OtherTraining {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        what: String,
        /// Its value in the checkpoint.
        here: String,
        /// Its value now.
        there: String,
    },
    /// The loss is not finite any more.
    #[error("the loss is no longer a finite number in epoch {epoch}, at a learning rate of {learning_rate}")]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Peak learning rate.
        learning_rate: f64,
    },
    /// A network that stays as it is must come from somewhere.
    #[error("a head is fitted to the features of a trained network, and none is given")]
    NothingToFreeze,
    /// An option that says how to train, where nothing is trained.
    #[error("the network stays as it is, so that \"{option}\" would do nothing; leave it out")]
    NothingTrained {
        /// The option.
        option: &'static str,
    },
    /// Averages over mirror images come after the head.
    #[error(
        "a head is fitted to the features of single images; calibrate the model with averages over mirror images then"
    )]
    FittedToSingleImages,
    /// The files changed while they were read.
    #[error("the number of training rows changed while they were read; do not change the files meanwhile")]
    DataChanged,
}

fn listed(example: &Option<String>) -> String {
    example.as_ref().map(|example| format!(" (left out: {example})")).unwrap_or_default()
}

impl From<TrainError> for dismax::Error {
    fn from(error: TrainError) -> Self {
        Self::Extension(Box::new(error))
    }
}
