//! A file of text that appears whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::WholeFile;
use crate::error::{Error, Result};

/// A file that does not have its name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct TextFile {
    path: PathBuf,
    file: WholeFile,
    writer: BufWriter<File>,
}

impl TextFile {
    /// Begins a file, so that one that may not be written is refused before the work.
    ///
    /// # Errors
    /// [`Error::OutputExists`] without `overwrite`, a folder that cannot be written.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self> {
        if path.is_dir() || path.file_name().is_none() {
            return Err(Error::Config(format!("{}: is a folder; name a file in it", path.display())));
        }
        if !overwrite && path.exists() {
            return Err(Error::OutputExists { path: path.to_path_buf() });
        }
        let about = |error| Error::io(path, error);
        let file = WholeFile::create(path, overwrite).map_err(about)?;
        let writer = BufWriter::new(file.writer().map_err(about)?);
        Ok(Self { path: path.to_path_buf(), file, writer })
    }

    /// Appends `text`.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn write(&mut self, text: impl AsRef<[u8]>) -> Result<()> {
        self.writer.write_all(text.as_ref()).map_err(|error| Error::io(&self.path, error))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written, [`Error::OutputExists`] where a file appeared meanwhile.
    pub fn finish(self) -> Result<()> {
        self.writer.into_inner().map_err(|error| Error::io(&self.path, error.into_error()))?;
        self.file.sync()?;
        self.file.publish()
    }
}
