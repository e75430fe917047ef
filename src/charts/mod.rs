//! Pictures as SVG text, drawn with plotters. The vector format needs no font files and prints well.

mod reliability;
mod score_histogram;
mod training;

pub use self::reliability::reliability;
pub use self::score_histogram::score_histogram;
pub use self::training::training;

use crate::error::Error;

fn fault(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("drawing a chart: {error}"))
}
