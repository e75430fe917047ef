//! Images to the workers and scores back, each image once as long as its scores are remembered.

mod answer;
mod cache;
mod request;

pub(crate) use self::cache::Remembered;
pub use self::cache::ScoreCache;
pub(crate) use self::request::{Answered, Request};
