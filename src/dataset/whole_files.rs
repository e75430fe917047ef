//! A dataset without its damaged files, for whoever reads its rows several times and counts on the same rows each time.

use super::bad_files::is_of_one_file;
use super::reader::Dataset;
use crate::error::Result;

/// Rows that are read at a time.
const ROWS: usize = 1024;

impl Dataset {
    /// The files all of whose rows can be read in the columns at these positions in [`schema`](Self::schema); the
    /// others are listed in [`bad_files`](Self::bad_files). Reads everything once where damaged files are skipped;
    /// where they end the run, this is the dataset itself. A reading of the result fails at a damaged file.
    ///
    /// # Errors
    /// Those of a reading that are not about one file; [`Error::Data`](crate::Error::Data) where no file is left.
    pub fn whole_files(&self, columns: &[usize]) -> Result<Self> {
        if !self.skips_bad_files() {
            return Ok(self.clone());
        }
        let mut whole = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let alone = self.of_sources(vec![source.clone()]).failing();
            let mut chunks = alone.read(ROWS, Some(columns))?;
            match chunks.try_for_each(|chunk| chunk.map(|_| ())) {
                Ok(()) => whole.push(source.clone()),
                Err(error) if !self.cancel.is_cancelled() && is_of_one_file(&error, source.location()) => {
                    self.bad_files.add(&source.name, &error, 0);
                }
                Err(error) => return Err(error),
            }
        }
        if whole.is_empty() {
            return Err(self.bad_files.nothing_left());
        }
        Ok(self.of_sources(whole).failing())
    }
}
