//! `dismax train`.

mod args;
mod embeddings;
mod fitted;
mod frozen;
mod images;
mod outcome;

use dismax::{Error, Result};

pub use self::args::{Args, EXAMPLES};
use crate::context::Context;
use crate::exit::Outcome;

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    if args.head.is_some() && args.images.embedding.is_none() && !args.freeze {
        return Err(Error::Config("--head is for --embedding and --freeze; --loss chooses that of a training".into()));
    }
    match &args.images.embedding {
        Some(embedding) => embeddings::run(args, embedding, context),
        None if args.freeze => frozen::run(args, context),
        None => images::run(args, context),
    }
}
