//! Two files of rows that appear together: all rows and the failed ones, or kept and rejected ones.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::background::BackgroundWriter;
use super::{DatasetWriter, WriteOptions, is_same_place};
use crate::{Error, Result};

/// A file that is written in any case and one that is written on request.
pub struct PairWriter {
    main: BackgroundWriter,
    other: Option<BackgroundWriter>,
}

impl PairWriter {
    /// Begins both. `rows` says in words which rows each is for.
    ///
    /// # Errors
    /// As [`DatasetWriter::create`]; [`Error::SameOutput`] where both have one name.
    pub fn create(
        main: (&str, &SchemaRef),
        other: Option<(&str, &SchemaRef)>,
        rows: [&'static str; 2],
        options: &WriteOptions,
    ) -> Result<Self> {
        let other = match other {
            None => None,
            Some((path, _)) if is_same_place(path, main.0) => {
                return Err(Error::SameOutput { path: path.to_owned(), rows });
            }
            // The format that was asked for is the main file's; this one's follows from its name.
            Some((path, schema)) => {
                let options = WriteOptions { format: None, ..options.clone() };
                Some(BackgroundWriter::try_new(DatasetWriter::create(path, schema, &options)?)?)
            }
        };
        let main = BackgroundWriter::try_new(DatasetWriter::create(main.0, main.1, options)?)?;
        Ok(Self { main, other })
    }

    /// Whether there is a second file.
    pub fn has_other(&self) -> bool {
        self.other.is_some()
    }

    /// Appends rows to the main file, on a thread of its own.
    ///
    /// # Errors
    /// As [`DatasetWriter::write`], for these rows or earlier ones.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.main.write(rows)
    }

    /// Appends rows to the second file, where there is one.
    ///
    /// # Errors
    /// As [`PairWriter::write`].
    pub fn write_other(&mut self, rows: &RecordBatch) -> Result<()> {
        self.other.as_mut().map_or(Ok(()), |writer| writer.write(rows))
    }

    /// Both files get their names once both are wholly on disk, or neither does.
    ///
    /// # Errors
    /// As [`PairWriter::write`] and [`DatasetWriter::finish`].
    pub fn finish(self) -> Result<()> {
        let other = self.other.map(|other| other.into_writer()?.complete()).transpose()?;
        let main = self.main.into_writer()?.complete()?;
        match other {
            Some(other) => other.publish_together(main),
            None => main.publish(),
        }
    }
}
