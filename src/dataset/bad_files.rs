//! Damaged files among many.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::location::Location;

/// What becomes of a file that is damaged or cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBadFile {
    /// It ends the run.
    #[default]
    Fail,
    /// Its rows, from where it is damaged, are left out, and it is listed.
    Skip,
}

/// A file of which rows are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFile {
    /// Its name, as in [`Chunk::file`](super::Chunk::file).
    pub file: Arc<str>,
    /// Why, in words that name it.
    pub reason: String,
    /// Its rows before the damage.
    pub rows: u64,
}

/// The list, which all readings of a dataset share.
#[derive(Debug, Clone, Default)]
pub(super) struct BadFiles(Arc<Mutex<Vec<BadFile>>>);

impl BadFiles {
    /// Adds one, with a warning, unless it is there already.
    pub fn add(&self, file: &Arc<str>, error: &Error, rows: u64) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.iter().all(|bad| (&bad.file, bad.rows) != (file, rows)) {
            let after = if rows > 0 { format!(" after {rows} rows") } else { String::new() };
            log::warn!("left out{after}: {error}");
            list.push(BadFile { file: Arc::clone(file), reason: error.to_string(), rows });
        }
    }

    /// What to say where no file can be read.
    pub fn nothing_left(&self) -> Error {
        match self.list().first() {
            Some(bad) => Error::data(&bad.file, format!("and every other input cannot be read: {}", bad.reason)),
            None => Error::Config("no input given".into()),
        }
    }

    pub fn list(&self) -> Vec<BadFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether an error is about one file: damage, or a file of a disk that cannot be read. A store that refuses or does
/// not answer would refuse the next file as well.
pub(super) fn is_of_one_file(error: &Error, location: Option<&Location>) -> bool {
    match error {
        Error::Data { .. } | Error::Parquet { .. } | Error::Arrow { .. } => true,
        Error::Io { source, .. } => match location {
            #[cfg(feature = "cloud")]
            Some(Location::Object(_)) => {
                use std::io::ErrorKind::{InvalidData, NotFound};
                matches!(source.kind(), NotFound | InvalidData)
            }
            _ => source.kind() != std::io::ErrorKind::Other,
        },
        _ => false,
    }
}
