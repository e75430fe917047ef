//! Datasets that another process reads: inputs by their names, with what was found out about them, so that it need not
//! find it out again.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use super::Dataset;
use super::bad_files::{BadFiles, OnBadFile};
use super::images::{ImageFolder, PortableImages};
use super::partitions::Partitions;
use super::reader::rows_of;
use super::source::{Source, SourceKind};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::location::{Location, Version};

/// A dataset, or some of its slices, as another process opens it. It has the same columns and the same rows in the same
/// order there. A file that changed in between is refused; of a folder of images, each is read as it is by then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PortableDataset {
    /// Arrow IPC streams without rows: the schemas that the fields below number.
    schemas: Vec<Vec<u8>>,
    schema: usize,
    sources: Vec<PortableSource>,
    skip_bad_files: bool,
    image: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PortableSource {
    name: String,
    kind: PortableKind,
    partitions: Partitions,
    own: usize,
    schema: usize,
    rows: Option<u64>,
    first_row: u64,
    version: Option<Version>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum PortableKind {
    Parquet { place: String, row_groups: Vec<(u64, u64)>, read: (usize, usize) },
    IpcFile(String),
    IpcStream(String),
    Tar(String),
    Images(PortableImages),
}

impl Dataset {
    /// The dataset for another process.
    ///
    /// # Errors
    /// A stream, which only this process can read; an input that is gone.
    pub fn to_portable(&self) -> Result<PortableDataset> {
        let mut schemas = Schemas::default();
        let schema = schemas.number_of(self.schema())?;
        let sources = self.sources.iter().map(|source| portable(source, &mut schemas)).collect::<Result<_>>()?;
        let skip_bad_files = self.skips_bad_files();
        Ok(PortableDataset { schemas: schemas.bytes, schema, sources, skip_bad_files, image: self.image.clone() })
    }
}

impl PortableDataset {
    /// Opens it. No input is looked at before it is read, but for whether it is the same as it was. Whoever takes
    /// datasets from strangers looks at [`places`](Self::places) first.
    ///
    /// # Errors
    /// An input that is not there or changed; bytes that were altered.
    pub fn open(&self, cancel: &Cancel) -> Result<Dataset> {
        let schemas = self.schemas.iter().map(|bytes| schema_of(bytes)).collect::<Result<Vec<_>>>()?;
        let schema = |number: usize| schemas.get(number).cloned().ok_or_else(altered);
        let mut sources = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            cancel.check()?;
            let kind = source.kind(cancel)?;
            let (own, joined) = (schema(source.own)?, schema(source.schema)?);
            let partitions = source.partitions.clone();
            sources.push(Source::again(&source.name, kind, partitions, own, joined, (source.first_row, source.rows)));
        }
        Ok(Dataset {
            rows: rows_of(&sources),
            sources,
            schema: schema(self.schema)?,
            cancel: cancel.clone(),
            on_bad_file: if self.skip_bad_files { OnBadFile::Skip } else { OnBadFile::Fail },
            bad_files: BadFiles::default(),
            image: self.image.clone(),
        })
    }

    /// The files that are read: absolute paths and addresses.
    pub fn places(&self) -> impl Iterator<Item = String> {
        self.sources.iter().flat_map(|source| match &source.kind {
            PortableKind::Parquet { place, .. }
            | PortableKind::IpcFile(place)
            | PortableKind::IpcStream(place)
            | PortableKind::Tar(place) => vec![place.clone()],
            PortableKind::Images(images) => images.places().collect(),
        })
    }
}

impl PortableSource {
    fn kind(&self, cancel: &Cancel) -> Result<SourceKind> {
        let same = |place: &String| {
            let location = Location::named(place)?.looked_up(cancel)?;
            match &self.version {
                Some(version) if location.version()?.as_ref() != Some(version) => {
                    Err(Error::data(&self.name, "is not the same here as where the run was started; run again"))
                }
                _ => Ok(location),
            }
        };
        Ok(match &self.kind {
            PortableKind::Parquet { place, row_groups, read } => {
                let read = read.0..read.1;
                if read.start > read.end || read.end > row_groups.len() {
                    return Err(altered());
                }
                SourceKind::Parquet { location: same(place)?, row_groups: Arc::new(row_groups.clone()), read }
            }
            PortableKind::IpcFile(place) => SourceKind::IpcFile(same(place)?),
            PortableKind::IpcStream(place) => SourceKind::IpcStream(same(place)?),
            PortableKind::Tar(place) => SourceKind::Tar(same(place)?),
            PortableKind::Images(images) => {
                let folder = Arc::new(ImageFolder::of_portable(images)?);
                SourceKind::Images { read: 0..folder.len(), folder }
            }
        })
    }
}

fn portable(source: &Source, schemas: &mut Schemas) -> Result<PortableSource> {
    let kind = match &source.kind {
        SourceKind::Parquet { location, row_groups, read } => PortableKind::Parquet {
            place: place_of(location)?,
            row_groups: row_groups.to_vec(),
            read: (read.start, read.end),
        },
        SourceKind::IpcFile(location) => PortableKind::IpcFile(place_of(location)?),
        SourceKind::IpcStream(location) => PortableKind::IpcStream(place_of(location)?),
        SourceKind::Tar(location) => PortableKind::Tar(place_of(location)?),
        SourceKind::Images { folder, read } => PortableKind::Images(folder.to_portable(read.clone())?),
        SourceKind::Stream(_) => {
            return Err(Error::data(&source.name, "is a stream, which no other process can read; use a file"));
        }
    };
    let version = source.location().map_or(Ok(None), Location::version)?;
    // Relative paths in rows start where the input lies, and messages are read elsewhere.
    let name = source.location().map_or_else(|| Ok(source.name.to_string()), place_of)?;
    let (first_row, rows) = (source.first_row, source.rows);
    let (own, schema) = (schemas.number_of(source.own())?, schemas.number_of(&source.schema)?);
    let partitions = source.partitions().clone();
    Ok(PortableSource { name, kind, partitions, own, schema, rows, first_row, version })
}

/// A name that means the same to every process.
fn place_of(location: &Location) -> Result<String> {
    match location {
        Location::File(path) => {
            let whole: PathBuf = path.canonicalize().map_err(|error| Error::io(path, error))?;
            whole.to_str().map(str::to_owned).ok_or_else(|| {
                Error::data(path.display(), "its name is no UTF-8, so that no other process can be told of it")
            })
        }
        other => Ok(other.to_string()),
    }
}

/// Schemas by number, each once.
#[derive(Default)]
struct Schemas {
    known: Vec<SchemaRef>,
    bytes: Vec<Vec<u8>>,
}

impl Schemas {
    fn number_of(&mut self, schema: &SchemaRef) -> Result<usize> {
        if let Some(number) = self.known.iter().position(|known| Arc::ptr_eq(known, schema) || known == schema) {
            return Ok(number);
        }
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, schema).map_err(fault)?;
        writer.finish().map_err(fault)?;
        self.known.push(Arc::clone(schema));
        self.bytes.push(bytes);
        Ok(self.known.len() - 1)
    }
}

fn schema_of(bytes: &[u8]) -> Result<Arc<Schema>> {
    Ok(StreamReader::try_new(bytes, None).map_err(fault)?.schema())
}

fn fault(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { origin: "a dataset for another process".into(), source }
}

fn altered() -> Error {
    Error::data("a dataset from another process", "was altered on its way")
}
