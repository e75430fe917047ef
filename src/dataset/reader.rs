//! Many inputs as one stream of record batches.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::batches::Batches;
use super::pipe::CancellablePipe;
use super::slices::used_bytes;
use super::writer::is_same_place;
use super::{BatchSize, Chunk, Format, ImageColumn, Input, LabelColumn, ipc, parquet, resolve, schema};
use crate::cancel::Cancel;
use crate::{Error, Result};

/// Files and streams with one schema, read as one sequence of rows.
///
/// Opening reads only schemas and footers. Files are opened again when their turn comes, so a dataset of many files
/// needs one file handle, and reading can start over; a stream can be read once.
#[derive(Debug)]
pub struct Dataset {
    sources: Vec<Source>,
    schema: SchemaRef,
    rows: Option<u64>,
    cancel: Cancel,
}

#[derive(Debug)]
struct Source {
    name: Arc<str>,
    kind: SourceKind,
}

#[derive(Debug)]
enum SourceKind {
    File(PathBuf, Format),
    /// Taken by the first reading.
    Stream(Mutex<Option<Box<ipc::Stream>>>),
}

impl Dataset {
    /// Opens files, folders, patterns and `-` (an Arrow IPC stream on standard input), as [`resolve`] finds them.
    ///
    /// # Errors
    /// Inputs that do not exist, are neither Parquet nor Arrow IPC, are cut off, or whose columns differ from those of
    /// the first: the message names the file, and the column where one is to blame.
    pub fn open<S: AsRef<str>>(arguments: &[S]) -> Result<Self> {
        Self::open_cancellable(arguments, &Cancel::default())
    }

    /// As [`open`](Self::open); every reading ends with [`Error::Cancelled`] once `cancel` is set, also one that waits
    /// for standard input or a pipe.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_cancellable<S: AsRef<str>>(arguments: &[S], cancel: &Cancel) -> Result<Self> {
        let mut parts = Vec::new();
        for input in resolve(arguments)? {
            parts.push(match input {
                Input::File(path) if path.is_file() => open_file(path)?,
                // A named pipe or a shell's `<(...)`.
                Input::File(path) => {
                    open_pipe(&path.display().to_string(), CancellablePipe::open(&path, cancel)?, cancel)?
                }
                Input::Stdin => open_pipe("stdin", CancellablePipe::stdin(cancel)?, cancel)?,
            });
        }
        Self::join(parts, cancel.clone())
    }

    /// Opens one Arrow IPC stream; `name` stands for it in messages and in [`Chunk::file`].
    ///
    /// # Errors
    /// When the bytes are no Arrow IPC stream.
    pub fn from_stream(name: &str, reader: impl Read + Send + 'static) -> Result<Self> {
        Self::join(vec![open_stream(name, Box::new(reader))?], Cancel::default())
    }

    fn join(parts: Vec<(Source, SchemaRef, Option<u64>)>, cancel: Cancel) -> Result<Self> {
        let mut parts = parts.into_iter();
        let Some((first, mut schema, mut rows)) = parts.next() else {
            return Err(Error::Config("no input given".into()));
        };
        let mut sources = vec![first];
        for (source, other, count) in parts {
            schema = schema::merge(&schema, &sources[0].name, &other, &source.name)?;
            rows = rows.zip(count).map(|(sum, count)| sum.saturating_add(count));
            sources.push(source);
        }
        Ok(Self { sources, schema, rows, cancel })
    }

    /// The column with the images: the one that fits by itself, or `wanted`.
    ///
    /// # Errors
    /// As [`ImageColumn::find`]; the message begins with the first file's name.
    pub fn image_column(&self, wanted: Option<&str>) -> Result<ImageColumn> {
        ImageColumn::find(&self.schema, wanted).map_err(|error| self.locate(error))
    }

    /// The column with the labels: the one with a usual name, or `wanted`.
    ///
    /// # Errors
    /// As [`LabelColumn::find`]; the message begins with the first file's name.
    pub fn label_column(&self, wanted: Option<&str>) -> Result<LabelColumn> {
        LabelColumn::find(&self.schema, wanted).map_err(|error| self.locate(error))
    }

    fn locate(&self, error: Error) -> Error {
        match (error, self.files().next()) {
            (Error::Data { origin, message }, Some(file)) => {
                Error::Data { origin: format!("{file}, {origin}"), message }
            }
            (Error::Column { role, origin, message }, Some(file)) => {
                Error::Column { role, origin: format!("{file}, {origin}"), message }
            }
            (error, _) => error,
        }
    }

    /// Columns and metadata; the metadata are those of the first file.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of rows, where the inputs tell it beforehand: Parquet does, Arrow IPC does not.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Checks that no file is named twice. Where rows are split or counted, copies do harm: one would be trained on and
    /// the other judge the training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the file.
    pub fn require_distinct_files(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for source in &self.sources {
            let SourceKind::File(path, _) = &source.kind else { continue };
            let path = path.canonicalize().map_err(|error| Error::io(path, error))?;
            if !seen.insert(path) {
                return Err(Error::Config(format!("{} is named twice; name each file once", source.name)));
            }
        }
        Ok(())
    }

    /// Checks that an output is not one of the files: it would hold other rows and take the place of these.
    ///
    /// # Errors
    /// [`Error::OutputIsInput`].
    pub fn require_not_read(&self, output: &str) -> Result<()> {
        match self.files().any(|file| is_same_place(file, output)) {
            true => Err(Error::OutputIsInput { path: output.to_owned() }),
            false => Ok(()),
        }
    }

    /// Names of the files, in reading order.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|source| &*source.name)
    }

    /// Rows of each row group of a Parquet file, by the file's name as in [`Chunk::file`]; nothing for other files.
    /// Reads the files' footers again.
    ///
    /// # Errors
    /// A file that can no longer be read.
    pub fn row_groups(&self) -> Result<HashMap<Arc<str>, Vec<u64>>> {
        let mut groups = HashMap::new();
        for source in &self.sources {
            if let SourceKind::File(path, Format::Parquet) = &source.kind {
                groups.insert(Arc::clone(&source.name), parquet::row_groups(path)?);
            }
        }
        Ok(groups)
    }

    /// Reads from the beginning, in pieces of at most `size`, or of so many rows; pieces do not reach over the end of a
    /// file.
    ///
    /// `projection` names the columns to read by their positions in [`schema`](Self::schema); they keep the dataset's
    /// order. Memory is bounded by `size`, for Arrow IPC by the batches that were written.
    ///
    /// # Errors
    /// A size of 0 rows, a projection beyond the schema, or a stream that was already read.
    pub fn read(&self, size: impl Into<BatchSize>, projection: Option<&[usize]>) -> Result<Chunks> {
        let size = size.into();
        if size.rows == 0 {
            return Err(Error::Config("a record batch needs at least 1 row".into()));
        }
        let columns = projection.map(|columns| {
            let mut columns = columns.to_vec();
            columns.sort_unstable();
            columns.dedup();
            columns
        });
        let schema = match &columns {
            None => Arc::clone(&self.schema),
            Some(columns) => Arc::new(
                self.schema.project(columns).map_err(|source| Error::Arrow { origin: "projection".into(), source })?,
            ),
        };
        let mut queue = Vec::with_capacity(self.sources.len());
        for source in self.sources.iter().rev() {
            let waiting = match &source.kind {
                SourceKind::File(path, format) => Waiting::File(path.clone(), *format),
                SourceKind::Stream(stream) => {
                    // A panic while the lock was held leaves an option that is whole either way.
                    let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                    Waiting::Stream(taken.ok_or_else(|| {
                        Error::data(&source.name, "a stream can be read only once; use a file to read several times")
                    })?)
                }
            };
            queue.push((Arc::clone(&source.name), waiting));
        }
        let cancel = self.cancel.clone();
        Ok(Chunks { queue, schema, columns, size, current: None, cancel, failed: false })
    }
}

fn open_file(path: PathBuf) -> Result<(Source, SchemaRef, Option<u64>)> {
    let format = Format::of_file(&path)?;
    let (schema, rows) = match format {
        Format::Parquet => parquet::header(&path).map(|(schema, rows)| (schema, Some(rows)))?,
        Format::IpcFile => (ipc::ArrowFile::open(&path)?.schema(), None),
        Format::IpcStream => (ipc::open_stream_file(&path)?.schema(), None),
    };
    let name = path.display().to_string().into();
    Ok((Source { name, kind: SourceKind::File(path, format) }, schema, rows))
}

fn open_pipe(name: &str, pipe: CancellablePipe, cancel: &Cancel) -> Result<(Source, SchemaRef, Option<u64>)> {
    open_stream(name, Box::new(pipe)).or_else(|error| cancel.check().and(Err(error)))
}

fn open_stream(name: &str, reader: Box<dyn Read + Send>) -> Result<(Source, SchemaRef, Option<u64>)> {
    let stream = ipc::open_stream(name, reader)?;
    let schema = stream.schema();
    Ok((Source { name: name.into(), kind: SourceKind::Stream(Mutex::new(Some(Box::new(stream)))) }, schema, None))
}

/// Iterator over a dataset's rows. Ends after the first error.
pub struct Chunks {
    /// Inputs not yet begun, the next one last.
    queue: Vec<(Arc<str>, Waiting)>,
    schema: SchemaRef,
    columns: Option<Vec<usize>>,
    size: BatchSize,
    current: Option<Current>,
    cancel: Cancel,
    failed: bool,
}

enum Waiting {
    File(PathBuf, Format),
    Stream(Box<ipc::Stream>),
}

struct Current {
    name: Arc<str>,
    batches: Batches,
    /// Rest of a batch that was larger than `size`, and how many rows of it fit.
    rest: Option<(RecordBatch, usize)>,
    next_row: u64,
}

impl Chunks {
    /// Schema of the record batches: the dataset's, after the projection.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn begin(&self, name: Arc<str>, waiting: Waiting) -> Result<Current> {
        let columns = self.columns.as_deref();
        let batches = match waiting {
            Waiting::File(path, format) => self.begin_file(&path, format)?,
            Waiting::Stream(stream) => stream.batches(columns),
        };
        Ok(Current { name, batches, rest: None, next_row: 0 })
    }

    fn begin_file(&self, path: &Path, format: Format) -> Result<Batches> {
        let columns = self.columns.as_deref();
        match format {
            Format::Parquet => parquet::batches(path, self.size, columns),
            Format::IpcFile => ipc::ArrowFile::open(path)?.batches(columns),
            Format::IpcStream => Ok(ipc::open_stream_file(path)?.batches(columns)),
        }
    }

    fn advance(&mut self) -> Result<Option<Chunk>> {
        loop {
            let Some(current) = &mut self.current else {
                let Some((name, waiting)) = self.queue.pop() else { return Ok(None) };
                self.current = Some(self.begin(name, waiting)?);
                continue;
            };
            let (batch, fitting) = match current.rest.take() {
                Some(rest) => rest,
                None => match current.batches.next() {
                    Some(batch) => {
                        let batch = schema::conform(batch?, &self.schema, &current.name)?;
                        let bytes = batch.columns().iter().map(used_bytes).sum();
                        let fitting = self.size.rows_of(batch.num_rows(), bytes);
                        (batch, fitting)
                    }
                    None => {
                        self.current = None;
                        continue;
                    }
                },
            };
            let rows = batch.num_rows().min(fitting);
            if rows == 0 {
                continue;
            }
            if batch.num_rows() > rows {
                current.rest = Some((batch.slice(rows, batch.num_rows() - rows), fitting));
            }
            let first_row = current.next_row;
            current.next_row += rows as u64;
            return Ok(Some(Chunk { record_batch: batch.slice(0, rows), file: Arc::clone(&current.name), first_row }));
        }
    }
}

impl Iterator for Chunks {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        // A read that was given up fails in its own words; what the caller asked for says more.
        let next =
            self.cancel.check().and_then(|()| self.advance()).or_else(|error| self.cancel.check().and(Err(error)));
        self.failed = next.is_err();
        next.transpose()
    }
}

impl std::iter::FusedIterator for Chunks {}
