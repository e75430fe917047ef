//! One input of a dataset: opened for what it holds, and read as often as it is asked for.

use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::batches::Batches;
use super::images::ImageFolder;
use super::inputs::{Input, InputKind};
use super::layout::Layout;
use super::packing::{MAGIC_BYTES, Packing};
use super::partitions::Partitions;
use super::tar::TarRows;
use super::{BatchSize, Format, ipc, parquet};
use crate::cancel::Cancel;
use crate::location::{Location, OpenFile};
use crate::{Error, Result};

/// An input whose columns are known.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub name: Arc<str>,
    pub kind: SourceKind,
    partitions: Partitions,
    /// The columns that the input itself has.
    own: SchemaRef,
    /// These, and those that the names of its folders hold.
    pub schema: SchemaRef,
    /// Rows, where they are known beforehand.
    pub rows: Option<u64>,
    /// Number within its input of the first row; not 0 for the slices of a large input.
    pub first_row: u64,
}

#[derive(Debug, Clone)]
pub(super) enum SourceKind {
    /// Row groups of a Parquet file; each with its rows and stored bytes.
    Parquet {
        location: Location,
        row_groups: Arc<Vec<(u64, u64)>>,
        read: Range<usize>,
    },
    IpcFile(Location),
    IpcStream(Location),
    Tar(Location),
    Images {
        folder: Arc<ImageFolder>,
        read: Range<usize>,
    },
    /// What comes once. Taken by the first reading.
    Stream(Arc<Mutex<Option<Stream>>>),
}

/// A stream of which the beginning was read.
#[derive(Debug)]
pub(super) enum Stream {
    Ipc(Box<ipc::Stream>),
    Tar(Box<TarRows>),
}

impl Source {
    /// Finds out what an input holds.
    ///
    /// # Errors
    /// Bytes of no format that is read, damage, the system's or the store's answer.
    pub fn open(input: Input, cancel: &Cancel) -> Result<Self> {
        let Input { kind, partitions, .. } = input;
        let location = match kind {
            InputKind::Images(folder) => {
                let (name, own, rows) = (folder.to_string(), Arc::clone(folder.schema()), folder.len());
                let kind = SourceKind::Images { read: 0..rows, folder: Arc::from(folder) };
                return Ok(Self::new(name, kind, partitions, own, Some(rows as u64)));
            }
            InputKind::One(location) => location,
        };
        let name = location.to_string();
        if location.is_stream() {
            let opened = location.read(cancel).and_then(|reader| open_stream(&name, reader));
            // A read that was given up fails in its own words.
            let (stream, own) = opened.or_else(|error| cancel.check().and(Err(error)))?;
            return Ok(Self::new(name, stream, partitions, own, None));
        }
        let location = location.looked_up(cancel)?;
        let file = location.open(cancel)?;
        let (kind, own, rows) = match Packing::of_start(&name, &start_of(&name, &file)?)? {
            Packing::Table(Format::Parquet) => {
                let header = parquet::header(&name, &file)?;
                let (rows, groups) = (header.rows(), header.row_groups.len());
                let row_groups = Arc::new(header.row_groups);
                (SourceKind::Parquet { location, row_groups, read: 0..groups }, header.schema, Some(rows))
            }
            Packing::Table(Format::IpcFile) => {
                let schema = ipc::ArrowFile::open(&location, cancel)?.schema();
                (SourceKind::IpcFile(location), schema, None)
            }
            Packing::Table(Format::IpcStream) => {
                let schema = ipc::Stream::open(&name, location.read(cancel)?)?.schema();
                (SourceKind::IpcStream(location), schema, None)
            }
            Packing::Tar => {
                let schema = TarRows::open(&name, location.read(cancel)?)?.schema();
                (SourceKind::Tar(location), schema, None)
            }
        };
        Ok(Self::new(name, kind, partitions, own, rows))
    }

    /// A stream of bytes that is called `name`.
    pub fn of_stream(name: &str, reader: Box<dyn Read + Send>) -> Result<Self> {
        let (kind, own) = open_stream(name, reader)?;
        Ok(Self::new(name.to_owned(), kind, Partitions::default(), own, None))
    }

    fn new(name: String, kind: SourceKind, partitions: Partitions, own: SchemaRef, rows: Option<u64>) -> Self {
        let beside = partitions.fields_beside(own.fields());
        let schema = match beside.is_empty() {
            true => Arc::clone(&own),
            false => {
                let fields = own.fields().iter().cloned().chain(beside.into_iter().map(Arc::new));
                Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), own.metadata().clone()))
            }
        };
        Self { name: name.into(), kind, partitions, own, schema, rows, first_row: 0 }
    }

    /// What another process found out about an input; `rows` are the number of its first one and how many there are.
    pub fn again(
        name: &str,
        kind: SourceKind,
        partitions: Partitions,
        own: SchemaRef,
        schema: SchemaRef,
        rows: (u64, Option<u64>),
    ) -> Self {
        Self { name: name.into(), kind, partitions, own, schema, rows: rows.1, first_row: rows.0 }
    }

    /// The columns that the input itself has.
    pub fn own(&self) -> &SchemaRef {
        &self.own
    }

    /// What the names of its folders hold.
    pub fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// The columns that the names of its folders hold, as one row; none where there are none.
    pub fn partition_row(&self) -> Option<RecordBatch> {
        let fields = self.partitions.fields_beside(self.own.fields());
        let columns: Vec<_> = fields.iter().map(|field| self.partitions.array(field.name(), 1)).collect();
        let row = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        row.ok().filter(|row| row.num_columns() > 0)
    }

    /// A piece of it.
    pub fn slice(&self, kind: SourceKind, first_row: u64, rows: u64) -> Self {
        Self { kind, first_row, rows: Some(rows), ..self.clone() }
    }

    /// Shares the schemas of another source where they are equal: many files have one.
    pub fn share_schemas(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.own, &other.own), (&mut self.schema, &other.schema)] {
            if mine == theirs {
                *mine = Arc::clone(theirs);
            }
        }
    }

    /// Whether its layout says that its images are in the column `image`.
    pub fn names_its_images(&self) -> bool {
        match &self.kind {
            SourceKind::Images { .. } | SourceKind::Tar(_) => true,
            SourceKind::Stream(stream) => {
                matches!(*stream.lock().unwrap_or_else(PoisonError::into_inner), Some(Stream::Tar(_)))
            }
            _ => false,
        }
    }

    /// Where it lies, where that is one place.
    pub fn location(&self) -> Option<&Location> {
        match &self.kind {
            SourceKind::Parquet { location, .. }
            | SourceKind::IpcFile(location)
            | SourceKind::IpcStream(location)
            | SourceKind::Tar(location) => Some(location),
            SourceKind::Images { .. } | SourceKind::Stream(_) => None,
        }
    }

    /// What will be read; taken now where it comes once.
    ///
    /// # Errors
    /// [`Error::Data`] for a stream that was read before.
    pub fn take(&self) -> Result<Taken> {
        let stream = match &self.kind {
            SourceKind::Stream(stream) => {
                // A panic while the lock was held leaves an option that is whole either way.
                let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                Some(taken.ok_or_else(|| {
                    Error::data(&self.name, "a stream can be read only once; use a file to read several times")
                })?)
            }
            _ => None,
        };
        Ok(Taken { source: self.clone(), stream })
    }
}

/// A source whose turn comes in a reading.
#[derive(Debug)]
pub(super) struct Taken {
    pub source: Source,
    stream: Option<Stream>,
}

impl Taken {
    /// Its record batches, with the columns `schema` of the reading.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn batches(self, schema: &SchemaRef, size: BatchSize, cancel: &Cancel) -> Result<Batches> {
        let Self { source, stream } = self;
        let layout = Layout::new(schema, &source.own, &source.partitions);
        let columns = layout.read();
        let batches = match (source.kind, stream) {
            (_, Some(Stream::Ipc(stream))) => stream.batches(columns),
            (_, Some(Stream::Tar(rows))) => rows.batches(size, columns),
            (SourceKind::Parquet { location, row_groups, read }, _) => {
                parquet::batches(&location, &row_groups, read, size, columns, cancel)?
            }
            (SourceKind::IpcFile(location), _) => ipc::ArrowFile::open(&location, cancel)?.batches(columns)?,
            (SourceKind::IpcStream(location), _) => {
                ipc::Stream::open(&source.name, location.read(cancel)?)?.batches(columns)
            }
            (SourceKind::Tar(location), _) => {
                TarRows::open(&source.name, location.read(cancel)?)?.batches(size, columns)
            }
            (SourceKind::Images { folder, read }, _) => folder.batches(read, size, columns, cancel)?,
            (SourceKind::Stream(_), None) => return Err(Error::Internal("a stream was not taken".into())),
        };
        let name = source.name;
        Ok(Box::new(batches.map(move |batch| layout.apply(batch?, &name))))
    }
}

fn start_of(name: &str, file: &OpenFile) -> Result<Vec<u8>> {
    let length = usize::try_from(file.len()).unwrap_or(usize::MAX).min(MAGIC_BYTES);
    let start = file.read_at(0, length);
    Ok(start.map_err(|error| file.failure().unwrap_or_else(|| Error::io(name, error)))?.to_vec())
}

fn open_stream(name: &str, mut reader: Box<dyn Read + Send>) -> Result<(SourceKind, SchemaRef)> {
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    let read = reader.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut start);
    read.map_err(|source| Error::Io { path: name.into(), source })?;
    let packing = Packing::of_start(name, &start)?;
    let whole = Box::new(Cursor::new(start).chain(reader));
    let (stream, schema) = match packing {
        Packing::Table(Format::IpcStream) => {
            let stream = ipc::Stream::open(name, whole)?;
            let schema = stream.schema();
            (Stream::Ipc(Box::new(stream)), schema)
        }
        Packing::Tar => {
            let rows = TarRows::open(name, whole)?;
            let schema = rows.schema();
            (Stream::Tar(Box::new(rows)), schema)
        }
        Packing::Table(Format::Parquet) => {
            return Err(Error::data(name, "is Parquet, which cannot be read from a stream; name the file instead"));
        }
        Packing::Table(Format::IpcFile) => {
            return Err(Error::data(
                name,
                "is an Arrow IPC file, which cannot be read from a stream; name the file or write the stream format",
            ));
        }
    };
    Ok((SourceKind::Stream(Arc::new(Mutex::new(Some(stream)))), schema))
}
