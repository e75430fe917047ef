//! `dismax train`.

mod args;
mod embeddings;
mod images;
mod outcome;

use dismax::Result;

pub use self::args::{Args, EXAMPLES};
use crate::context::Context;
use crate::exit::Outcome;

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    match &args.images.embedding {
        Some(embedding) => embeddings::run(args, embedding, context),
        None => images::run(args, context),
    }
}
