//! Many inputs as one stream of record batches.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::bad_files::{BadFiles, is_of_one_file};
use super::batches::Batches;
use super::images::IMAGE;
use super::row_slices::row_slices;
use super::slices::used_bytes;
use super::source::{Source, SourceKind, Taken};
use super::writer::is_same_place;
use super::{BadFile, BatchSize, Chunk, EmbeddingColumn, ImageColumn, Input, LabelColumn, OnBadFile, resolve, schema};
use crate::cancel::Cancel;
use crate::location::Location;
use crate::parallel::ordered_map;
use crate::{Error, Result};

/// Inputs of a store that are opened at a time: each costs a round trip.
const OPENED_AT_A_TIME: usize = 16;
/// Stored bytes of a small object.
const SMALL_OBJECT_BYTES: u64 = 8 << 20;

/// Inputs with one schema, read as one sequence of rows.
///
/// Opening reads only schemas and footers. Files are opened again when their turn comes, so a dataset of many files
/// needs one file handle, and reading can start over; a stream can be read once.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub(super) sources: Vec<Source>,
    pub(super) schema: SchemaRef,
    pub(super) rows: Option<u64>,
    pub(super) cancel: Cancel,
    pub(super) on_bad_file: OnBadFile,
    pub(super) bad_files: BadFiles,
    pub(super) image: Option<String>,
}

/// How a dataset is opened and read.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Every reading ends with [`Error::Cancelled`] once this is set, also one that waits for standard input, a pipe or
    /// a server.
    pub cancel: Cancel,
    /// What becomes of damaged files.
    pub on_bad_file: OnBadFile,
}

impl From<&Cancel> for OpenOptions {
    fn from(cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..Self::default() }
    }
}

impl Dataset {
    /// Opens files, folders, addresses, patterns and `-` (standard input), as [`resolve`] finds them.
    ///
    /// # Errors
    /// Inputs that do not exist, are of no format that is read, are cut off, or whose columns do not fit to those of
    /// the first: the message names the file, and the column where one is to blame.
    pub fn open<S: AsRef<str>>(arguments: &[S]) -> Result<Self> {
        Self::open_with(arguments, OpenOptions::default())
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with<S: AsRef<str>>(arguments: &[S], options: impl Into<OpenOptions>) -> Result<Self> {
        let options = options.into();
        Self::of_inputs(resolve(arguments, &options.cancel)?, options)
    }

    /// As [`open_with`](Self::open_with), of inputs that were resolved.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn of_inputs(inputs: Vec<Input>, options: OpenOptions) -> Result<Self> {
        let OpenOptions { cancel, on_bad_file } = options;
        let bad_files = BadFiles::default();
        let is_remote = inputs.iter().any(|input| input.location().is_some_and(Location::is_remote));
        let at_a_time = match is_remote {
            true => OPENED_AT_A_TIME,
            false => thread::available_parallelism().map_or(1, usize::from),
        };
        let threads = at_a_time.min(inputs.len());
        let (mut sources, opening) = (Vec::with_capacity(inputs.len()), cancel.clone());
        let opened = ordered_map(inputs.into_iter(), threads, move |input| {
            let (name, location) = (input.to_string(), input.location().cloned());
            (name, location, Source::open(input, &opening))
        })?;
        for opened in opened {
            cancel.check()?;
            match opened? {
                (_, _, Ok(source)) => sources.push(source),
                (name, location, Err(error))
                    if on_bad_file == OnBadFile::Skip && is_of_one_file(&error, location.as_ref()) =>
                {
                    bad_files.add(&name.into(), &error, 0);
                }
                (_, _, Err(error)) => return Err(error),
            }
        }
        Self::join(sources, cancel, on_bad_file, bad_files)
    }

    /// Opens one stream of bytes, an Arrow IPC stream or a tar file; `name` stands for it in messages and in
    /// [`Chunk::file`].
    ///
    /// # Errors
    /// When the bytes are neither.
    pub fn from_stream(name: &str, reader: impl Read + Send + 'static) -> Result<Self> {
        let source = Source::of_stream(name, Box::new(reader))?;
        Self::join(vec![source], Cancel::default(), OnBadFile::Fail, BadFiles::default())
    }

    fn join(mut sources: Vec<Source>, cancel: Cancel, on_bad_file: OnBadFile, bad_files: BadFiles) -> Result<Self> {
        let Some(first) = sources.first() else {
            return Err(bad_files.nothing_left());
        };
        let mut schema = Arc::clone(&first.schema);
        for number in 1..sources.len() {
            let (before, rest) = sources.split_at_mut(number);
            rest[0].share_schemas(&before[number - 1]);
            schema = schema::merge(&schema, &before[0].name, &rest[0].schema, &rest[0].name)?;
        }
        let rows = rows_of(&sources);
        Ok(Self { sources, schema, rows, cancel, on_bad_file, bad_files, image: None })
    }

    /// The inputs whose folders say nothing against a condition: `may_hold` is asked about the columns that the names
    /// of an input's folders hold, as one row.
    ///
    /// # Errors
    /// Those of `may_hold`.
    pub(crate) fn where_folders(&self, mut may_hold: impl FnMut(&RecordBatch) -> Result<bool>) -> Result<Self> {
        let mut kept = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            if source.partition_row().map_or(Ok(true), |row| may_hold(&row))? {
                kept.push(source.clone());
            }
        }
        Ok(self.of_sources(kept))
    }

    /// Whether all rows lie in files, so that none has to be waited for.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.sources.iter().all(|source| !matches!(source.kind, SourceKind::Stream(_)))
    }

    /// Whether all inputs are small Parquet files in a store or on a server, so that several can be held in memory.
    pub(crate) fn is_small_objects(&self) -> bool {
        self.sources.iter().all(|source| match &source.kind {
            SourceKind::Parquet { location, row_groups, .. } => {
                let bytes = row_groups.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
                location.is_remote() && bytes <= SMALL_OBJECT_BYTES
            }
            _ => false,
        })
    }

    /// Number of inputs.
    pub(crate) fn input_count(&self) -> usize {
        self.sources.len()
    }

    /// The same dataset with other inputs of its schema.
    pub(super) fn of_sources(&self, sources: Vec<Source>) -> Self {
        Self { rows: rows_of(&sources), sources, ..self.clone() }
    }

    /// Whether damaged files are skipped.
    pub(super) fn skips_bad_files(&self) -> bool {
        self.on_bad_file == OnBadFile::Skip
    }

    /// The same dataset, whose readings end at a damaged file.
    pub(super) fn failing(self) -> Self {
        Self { on_bad_file: OnBadFile::Fail, ..self }
    }

    /// Files of which rows are left out, as far as they were opened and read; see [`OnBadFile::Skip`].
    pub fn bad_files(&self) -> Vec<BadFile> {
        self.bad_files.list()
    }

    /// Whether rows of the input with this number are left out.
    pub(crate) fn is_bad(&self, number: usize) -> bool {
        let source = &self.sources[number];
        let end = source.rows.map_or(u64::MAX, |rows| source.first_row.saturating_add(rows));
        let here = |row: u64| row >= source.first_row && row < end.max(source.first_row.saturating_add(1));
        self.bad_files.list().iter().any(|bad| bad.file == source.name && here(bad.rows))
    }

    /// The same dataset, with a name for the column with the images where callers want none.
    #[must_use]
    pub fn with_image_column(self, name: Option<String>) -> Self {
        Self { image: name, ..self }
    }

    /// The column with the images: `wanted`, or the one that the dataset was told of, or the only one that fits.
    ///
    /// # Errors
    /// As [`ImageColumn::find`]; the message begins with the first file's name.
    pub fn image_column(&self, wanted: Option<&str>) -> Result<ImageColumn> {
        // Beside it, tar files may hold other columns of bytes.
        let named = self.sources.iter().all(Source::names_its_images) && self.schema.column_with_name(IMAGE).is_some();
        let wanted = wanted.or(self.image.as_deref()).or(named.then_some(IMAGE));
        let column = ImageColumn::find(&self.schema, wanted).map_err(|error| self.locate(error))?;
        let from_folders = self.sources.iter().all(|source| matches!(source.kind, SourceKind::Images { .. }));
        Ok(if from_folders { column.opening_below("".as_ref()) } else { column })
    }

    /// The column with the embeddings: `wanted`, or the only one that fits.
    ///
    /// # Errors
    /// As [`EmbeddingColumn::find`]; the message begins with the first file's name.
    pub fn embedding_column(&self, wanted: Option<&str>) -> Result<EmbeddingColumn> {
        EmbeddingColumn::find(&self.schema, wanted).map_err(|error| self.locate(error))
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

    /// Number of rows, where the inputs tell it beforehand: Parquet and folders of images do, Arrow IPC and tar files
    /// do not.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// The files, also those of folders of images, under the names that they have only once: links resolved, or an
    /// address.
    ///
    /// # Errors
    /// A file that is gone.
    pub fn places(&self) -> Result<Vec<PathBuf>> {
        let mut places = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            match &source.kind {
                SourceKind::Images { folder, read } => {
                    places.extend(read.clone().map(|file| place_of(&folder.location(file))));
                }
                _ => places.extend(source.location().map(place_of)),
            }
        }
        places.into_iter().collect()
    }

    /// Checks that no file is named twice. Where rows are split or counted, copies do harm: one would be trained on and
    /// the other judge the training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the file.
    pub fn require_distinct_files(&self) -> Result<()> {
        let mut seen = HashSet::new();
        match self.places()?.into_iter().find(|place| !seen.insert(place.clone())) {
            None => Ok(()),
            Some(place) => Err(Error::Config(format!("{} is named twice; name each file once", place.display()))),
        }
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
    pub fn row_groups(&self) -> HashMap<Arc<str>, Vec<u64>> {
        let groups = self.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Parquet { row_groups, .. } => {
                Some((Arc::clone(&source.name), row_groups.iter().map(|(rows, _)| *rows).collect()))
            }
            _ => None,
        });
        groups.collect()
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
        let queue = self.sources.iter().enumerate().rev();
        let queue = queue.map(|(number, source)| Ok((number, source.take()?))).collect::<Result<Vec<_>>>()?;
        let (cancel, bad_files) = (self.cancel.clone(), self.bad_files.clone());
        let skip = self.skips_bad_files();
        Ok(Chunks { queue, schema, size, current: None, cancel, skip, bad_files, failed: false })
    }
}

pub(super) fn rows_of(sources: &[Source]) -> Option<u64> {
    sources.iter().try_fold(0u64, |sum, source| Some(sum.saturating_add(source.rows?)))
}

/// The one name of a file that several names may stand for.
fn place_of(location: &Location) -> Result<PathBuf> {
    match location {
        Location::File(path) => path.canonicalize().map_err(|error| Error::io(path, error)),
        other => Ok(PathBuf::from(other.to_string())),
    }
}

/// Iterator over a dataset's rows. Ends after the first error.
pub struct Chunks {
    /// Inputs not yet begun with their numbers, the next one last.
    queue: Vec<(usize, Taken)>,
    schema: SchemaRef,
    size: BatchSize,
    current: Option<Current>,
    cancel: Cancel,
    /// Whether damaged files are skipped.
    skip: bool,
    bad_files: BadFiles,
    failed: bool,
}

struct Current {
    source: usize,
    name: Arc<str>,
    location: Option<Location>,
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

    /// The same reading as several that follow each other, for threads of their own: one for each input and each slice
    /// of a large Parquet file. Where damaged files are skipped, a file is not cut: nothing is read behind its damage.
    pub(crate) fn apart(self) -> Vec<Self> {
        let Self { queue, schema, size, cancel, skip, bad_files, .. } = self;
        let inputs = queue.into_iter().rev();
        let pieces = inputs.flat_map(|(number, taken)| {
            let slices = if skip { Vec::new() } else { row_slices(&taken.source) };
            let pieces = match slices.len() {
                0 | 1 => vec![taken],
                _ => slices.iter().map(|slice| slice.take().expect("only streams come once")).collect(),
            };
            pieces.into_iter().map(move |taken| (number, taken))
        });
        let piece = |piece| Self {
            queue: vec![piece],
            schema: Arc::clone(&schema),
            size,
            current: None,
            cancel: cancel.clone(),
            skip,
            bad_files: bad_files.clone(),
            failed: false,
        };
        pieces.map(piece).collect()
    }

    fn begin(&self, source: usize, taken: Taken) -> Result<Current> {
        let (name, location) = (Arc::clone(&taken.source.name), taken.source.location().cloned());
        let next_row = taken.source.first_row;
        let batches = taken.batches(&self.schema, self.size, &self.cancel)?;
        Ok(Current { source, name, location, batches, rest: None, next_row })
    }

    /// Whether the reading goes on with the next file after this error, which is noted then.
    fn skips(&self, error: &Error, file: (&Arc<str>, Option<&Location>), rows: u64) -> bool {
        let skips = self.skip && !self.cancel.is_cancelled() && is_of_one_file(error, file.1);
        if skips {
            self.bad_files.add(file.0, error, rows);
        }
        skips
    }

    fn advance(&mut self) -> Result<Option<Chunk>> {
        loop {
            let Some(mut current) = self.current.take() else {
                let Some((source, taken)) = self.queue.pop() else { return Ok(None) };
                let (name, location) = (Arc::clone(&taken.source.name), taken.source.location().cloned());
                let first_row = taken.source.first_row;
                match self.begin(source, taken) {
                    Ok(begun) => self.current = Some(begun),
                    Err(error) if self.skips(&error, (&name, location.as_ref()), first_row) => {}
                    Err(error) => return Err(error),
                }
                continue;
            };
            let (batch, fitting) = match current.rest.take() {
                Some(rest) => rest,
                None => match current.batches.next() {
                    Some(Ok(batch)) => {
                        let bytes = batch.columns().iter().map(used_bytes).sum();
                        let fitting = self.size.rows_of(batch.num_rows(), bytes);
                        (batch, fitting)
                    }
                    Some(Err(error))
                        if self.skips(&error, (&current.name, current.location.as_ref()), current.next_row) =>
                    {
                        continue;
                    }
                    Some(Err(error)) => return Err(error),
                    None => continue,
                },
            };
            let rows = batch.num_rows().min(fitting);
            if rows > 0 && batch.num_rows() > rows {
                current.rest = Some((batch.slice(rows, batch.num_rows() - rows), fitting));
            }
            let first_row = current.next_row;
            current.next_row += rows as u64;
            let (file, source) = (Arc::clone(&current.name), current.source);
            self.current = Some(current);
            if rows > 0 {
                return Ok(Some(Chunk { record_batch: batch.slice(0, rows), file, source, first_row }));
            }
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
