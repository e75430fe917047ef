//! Writes record batches to a file that appears whole or not at all, or to a stream.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::Format;
use super::sink::Sink;
use super::slices::used_bytes;
use super::write_options::WriteOptions;
use crate::disk::{WholeFile, parent, publish_together};
use crate::location::{Upload, is_remote};
use crate::{Error, Result};

/// A piece that is handed to the encoder at once, in bytes, so that the size of row groups is looked at often enough.
const PIECE_BYTES: usize = 8 << 20;

/// Writes one dataset. Rows appear under the target's name when [`finish`](Self::finish) succeeds; a writer that is
/// dropped before leaves nothing behind.
///
/// The schema's metadata are kept. Parquet and IPC streams keep all types; the IPC file format allows a column one
/// dictionary for all batches, which input files do not promise, so dictionary columns are written as their values
/// there.
pub struct DatasetWriter {
    origin: String,
    schema: SchemaRef,
    sink: Sink,
    place: Place,
}

/// Where the rows go, and how they get their name.
enum Place {
    Stream,
    File(WholeFile),
    Object(Upload),
}

impl DatasetWriter {
    /// Begins a dataset at `target`: a file name, the address of an object, or `-` for an Arrow IPC stream on standard
    /// output.
    ///
    /// # Errors
    /// When the target exists and may not be overwritten, its folder is missing or cannot be written, its extension
    /// stands for no format, or the format cannot hold a type.
    pub fn create(target: &str, schema: &SchemaRef, options: &WriteOptions) -> Result<Self> {
        if target == "-" {
            if options.format.is_some_and(|format| format != Format::IpcStream) {
                return Err(Error::Config("standard output (`-`) takes the Arrow IPC stream format only".into()));
            }
            return Self::to_stream("stdout", io::stdout(), schema, options);
        }
        let path = Path::new(target);
        let format = || {
            options.format.or_else(|| Format::of_extension(path)).ok_or_else(|| {
                let formats = "use .parquet, .arrow, .feather or .arrows, or `-`";
                Error::Config(format!("{target}: the extension stands for no format; {formats}"))
            })
        };
        if is_remote(target) {
            let format = format()?;
            let upload = Upload::begin(target, options.overwrite)?;
            let sink = Sink::try_new(format, Box::new(BufWriter::new(upload.writer())), schema, options)
                .map_err(|error| error.about(target))?;
            return Ok(Self { origin: target.to_string(), schema: schema.clone(), sink, place: Place::Object(upload) });
        }
        let target_path = check_target(path, options.overwrite)?;
        let format = format()?;
        let file = WholeFile::create(&target_path, options.overwrite).map_err(|source| {
            let folder = parent(&target_path).display();
            Error::Config(format!("{target}: the folder {folder} cannot be written to: {source}"))
        })?;
        let output = file.writer().map_err(|source| Error::io(path, source))?;
        let sink = Sink::try_new(format, Box::new(BufWriter::new(output)), schema, options)
            .map_err(|error| error.about(target))?;
        Ok(Self { origin: target.to_string(), schema: schema.clone(), sink, place: Place::File(file) })
    }

    /// Begins a Parquet file among many of a folder, or an object; one of that name is replaced.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub(crate) fn create_part(target: &str, schema: &SchemaRef, options: &WriteOptions) -> Result<Self> {
        if is_remote(target) {
            return Self::create(target, schema, options);
        }
        let about = |source| Error::io(target, source);
        let file = WholeFile::create_without_cleaning(Path::new(target), options.overwrite).map_err(about)?;
        let output = BufWriter::new(file.writer().map_err(about)?);
        let sink =
            Sink::try_new(Format::Parquet, Box::new(output), schema, options).map_err(|error| error.about(target))?;
        Ok(Self { origin: target.to_string(), schema: schema.clone(), sink, place: Place::File(file) })
    }

    /// Begins an Arrow IPC stream on `output`; `name` stands for it in messages. The format in `options` does not
    /// count.
    ///
    /// # Errors
    /// When the schema cannot be written.
    pub fn to_stream(
        name: &str,
        output: impl Write + Send + 'static,
        schema: &SchemaRef,
        options: &WriteOptions,
    ) -> Result<Self> {
        let sink = Sink::try_new(Format::IpcStream, Box::new(BufWriter::new(output)), schema, options)
            .map_err(|error| error.about(name))?;
        Ok(Self { origin: name.to_string(), schema: schema.clone(), sink, place: Place::Stream })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When the columns are not those of the schema, or the output cannot be written: a full disk, a closed pipe (an
    /// [`Error::Io`] of kind `BrokenPipe`).
    pub fn write(&mut self, record_batch: &RecordBatch) -> Result<()> {
        if !same_columns(&self.schema, record_batch.schema_ref()) {
            return Err(Error::data(&self.origin, "a record batch has other columns than the output's schema"));
        }
        let rows = record_batch.num_rows();
        let bytes: usize = record_batch.columns().iter().map(used_bytes).sum();
        let step = rows.checked_div(bytes.div_ceil(PIECE_BYTES)).unwrap_or(rows).max(1);
        for start in (0..rows).step_by(step) {
            let piece = record_batch.slice(start, step.min(rows - start));
            self.sink.write(&piece).map_err(|error| error.about(&self.origin))?;
        }
        Ok(())
    }

    /// Completes the output: footer, sync to disk, and only then the target's name.
    ///
    /// # Errors
    /// When the output cannot be written, or a file appeared at the target meanwhile that may not be overwritten.
    pub fn finish(self) -> Result<()> {
        self.complete()?.publish()
    }

    /// Completes the output but for the target's name, so that several can be named together.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn complete(self) -> Result<Completed> {
        let Self { origin, schema: _, sink, place } = self;
        sink.finish().map_err(|error| error.about(&origin))?;
        match &place {
            Place::Stream => {}
            Place::File(file) => file.sync()?,
            Place::Object(upload) => upload.complete()?,
        }
        Ok(Completed(place))
    }
}

/// A dataset that is wholly on disk, or in its store, and lacks its name. Dropping it removes it.
#[must_use = "it is removed unless it is published"]
pub struct Completed(Place);

impl Completed {
    /// Gives the file the target's name.
    ///
    /// # Errors
    /// When a file appeared at the target meanwhile that may not be overwritten, or the folder cannot be written.
    pub fn publish(self) -> Result<()> {
        match self.0 {
            Place::Stream => Ok(()),
            Place::File(file) => file.publish(),
            Place::Object(upload) => upload.publish(),
        }
    }

    /// Gives this file and `other` their names, or neither. Rows that went to a stream are out already, and an object
    /// that was replaced does not come back.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_together(self, other: Self) -> Result<()> {
        match (self.0, other.0) {
            (Place::File(first), Place::File(second)) => publish_together(first, second),
            (Place::Object(upload), other) | (other, Place::Object(upload)) => {
                upload.publish_before(|| Self(other).publish())
            }
            (Place::Stream, only) | (only, Place::Stream) => Self(only).publish(),
        }
    }
}

/// Whether two names, of files that need not exist, are of one file.
pub fn is_same_place(one: &str, other: &str) -> bool {
    let place = |name: &str| {
        let path = std::path::absolute(name).ok()?;
        let folder = path.parent()?.canonicalize().ok()?;
        let whole = folder.join(path.file_name()?);
        Some(whole.canonicalize().unwrap_or(whole))
    };
    one == other || place(one).is_some_and(|place_of_one| place(other) == Some(place_of_one))
}

fn exists(path: &Path) -> Error {
    Error::OutputExists { path: path.to_path_buf() }
}

/// The path to write to, links resolved: replacing a link would leave the file it points to untouched.
fn check_target(path: &Path, overwrite: bool) -> Result<PathBuf> {
    let refuse = |message: String| Err(Error::Config(format!("{}: {message}", path.display())));
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => refuse("is a folder; name a file in it".into()),
        Ok(metadata) if !metadata.is_file() => refuse("is not a regular file".into()),
        Ok(_) if !overwrite => Err(exists(path)),
        Ok(_) => path.canonicalize().map_err(|source| Error::io(path, source)),
        Err(_) if path.is_symlink() => refuse("is a link to a file that does not exist; remove it first".into()),
        Err(_) if !parent(path).is_dir() => {
            refuse(format!("the folder {} does not exist; create it first", parent(path).display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_path_buf()),
        Err(source) => Err(Error::io(path, source)),
    }
}

fn same_columns(one: &Schema, other: &Schema) -> bool {
    one.fields().len() == other.fields().len()
        && one
            .fields()
            .iter()
            .zip(other.fields())
            .all(|(one, other)| one.name() == other.name() && one.data_type() == other.data_type())
}
