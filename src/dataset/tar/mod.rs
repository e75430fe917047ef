//! Tar files of samples, as WebDataset lays them out: members that follow each other and whose names are the same up to
//! the first dot are one row, `000.jpg`, `000.cls` and `000.json`.
//!
//! | member | column |
//! | --- | --- |
//! | an image (`.jpg`, `.png`, ...) | `image`: struct `{bytes, path}` |
//! | `.cls` | `label`: the number or the name in it |
//! | `.txt`, `.text`, `.caption`, `.json` | text, under the ending's name |
//! | others, and images with a further ending (`.left.jpg`) | bytes, under the ending's name |
//!
//! The first samples tell which columns there are: a tar file says so nowhere. Everything is read in order, so that a
//! stream will do.

mod columns;
mod samples;

pub(super) use self::columns::TarRows;
