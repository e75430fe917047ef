//! What a table beside image files says about them: `metadata.csv`, `metadata.jsonl` or `metadata.parquet` with a
//! column `file_name`, as Hugging Face's `imagefolder` reads it.

use std::collections::{HashMap, HashSet};
use std::io::{Cursor, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::csv;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::json;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use super::layout::{IMAGE, PATH, text_of};
use crate::cancel::Cancel;
use crate::dataset::parquet::sound_metadata;
use crate::error::{Error, Result};
use crate::location::{Folder, Location, Version, WalkedFile};

/// The column that names the files.
const FILE_NAME: &str = "file_name";
const CSV: &str = "metadata.csv";
const JSON: &str = "metadata.jsonl";
const PARQUET: &str = "metadata.parquet";
/// A table of a million rows with a few columns; more belongs into the dataset itself.
const MAX_BYTES: u64 = 1 << 30;
/// Rows from which the types of columns follow.
const ROWS_FOR_TYPES: usize = 10_000;
const BATCH_ROWS: usize = 8192;

/// The table, its rows found by file.
#[derive(Debug)]
pub(super) struct Metadata {
    origin: String,
    /// All columns but `file_name`.
    rows: RecordBatch,
    by_file: HashMap<String, usize>,
    digest: [u8; 32],
}

impl Metadata {
    /// The table of a folder, if it has one.
    ///
    /// # Errors
    /// A table that cannot be read, or without the column `file_name`.
    pub fn find(folder: &Folder, cancel: &Cancel) -> Result<Option<Self>> {
        for name in [CSV, JSON, PARQUET] {
            if folder.has_file(name, cancel)? {
                return Self::read(&folder.file(Path::new(name)), name, cancel).map(Some);
            }
        }
        Ok(None)
    }

    fn read(location: &Location, kind: &str, cancel: &Cancel) -> Result<Self> {
        let origin = location.to_string();
        let bytes = location.read_whole(MAX_BYTES, cancel).map_err(|source| Error::io(&origin, source))?;
        let bytes = bytes.ok_or_else(|| Error::data(&origin, "is larger than 1 GiB; write the dataset as Parquet"))?;
        let digest = Sha256::digest(&bytes).into();
        let table = match kind {
            CSV => read_csv(bytes),
            JSON => read_json(bytes),
            _ => read_parquet(bytes),
        };
        let table = table.map_err(|error| Error::data(&origin, format!("cannot be read as a table ({error})")))?;
        let Ok(position) = table.schema().index_of(FILE_NAME) else {
            let message = format!("has no column \"{FILE_NAME}\", which says which image a row is about");
            return Err(Error::data(&origin, message));
        };
        let names = cast(table.column(position), &DataType::Utf8)
            .map_err(|error| Error::data(format!("{origin}, column \"{FILE_NAME}\""), error.to_string()))?;
        let names = names.as_string::<i32>();
        let mut by_file = HashMap::with_capacity(names.len());
        for (row, name) in names.iter().enumerate() {
            let name = name.ok_or_else(|| Error::data(format!("{origin}, row {row}"), "names no file"))?;
            let name = name.trim_start_matches("./");
            if by_file.insert(name.to_owned(), row).is_some() {
                return Err(Error::data(format!("{origin}, row {row}"), format!("names {name} a second time")));
            }
        }
        let own = |name: &str| [FILE_NAME, IMAGE, PATH].contains(&name);
        let others: Vec<usize> = (0..table.num_columns()).filter(|at| !own(table.schema().field(*at).name())).collect();
        let rows = table.project(&others).expect("its own columns");
        Ok(Self { origin, rows, by_file, digest })
    }

    /// Adds the files that only the table names, so that none of its rows is lost, and says which it does not name.
    ///
    /// # Errors
    /// A name that leads out of the folder.
    pub fn about(self, folder: &Folder, files: &mut Vec<WalkedFile>) -> Result<Self> {
        let mut left: HashSet<&str> = self.by_file.keys().map(String::as_str).collect();
        let without = files.iter().filter(|file| !left.remove(&*text_of(&file.path))).count();
        if without > 0 {
            log::warn!(
                "{}: says nothing about {without} of the images in {folder}; their columns are null",
                self.origin
            );
        }
        for name in &left {
            let path = PathBuf::from(name);
            if path.is_absolute() || path.components().any(|part| part.as_os_str() == "..") {
                let message = format!("names {name}, which does not lie in the folder");
                return Err(Error::data(&self.origin, message));
            }
        }
        let missing = left.into_iter().map(|name| WalkedFile { path: name.into(), version: Version::unknown() });
        files.extend(missing);
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(self)
    }

    /// A table whose rows are those of these files.
    pub fn of_rows(origin: String, rows: RecordBatch, by_file: HashMap<String, usize>) -> Self {
        Self { origin, rows, by_file, digest: [0; 32] }
    }

    /// A row for each of these files, null where the table has none.
    ///
    /// # Errors
    /// None so far: as [`take`].
    pub fn rows_of(&self, files: &[WalkedFile]) -> Result<RecordBatch> {
        let schema = Arc::new(Schema::new(self.fields()));
        let columns = schema.fields().iter().map(|field| self.array(field.name(), files)).collect::<Result<_>>()?;
        // It may have no column but the names.
        let options = RecordBatchOptions::new().with_row_count(Some(files.len()));
        RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|source| Error::Arrow { origin: self.origin.clone(), source })
    }

    /// The file that it was read from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// SHA-256 of the file.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// Its columns; any may be null.
    pub fn fields(&self) -> Vec<Field> {
        self.rows.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.rows.schema().index_of(name).is_ok()
    }

    /// A column's values for these files.
    pub fn array(&self, name: &str, files: &[WalkedFile]) -> Result<ArrayRef> {
        let rows: UInt64Array =
            files.iter().map(|file| self.by_file.get(&text_of(&file.path)).map(|row| *row as u64)).collect();
        let column = self.rows.column_by_name(name).expect("one of its fields");
        take(column, &rows, None).map_err(|source| Error::Arrow { origin: self.origin.clone(), source })
    }
}

fn read_csv(bytes: Vec<u8>) -> Result<RecordBatch, ArrowError> {
    let mut bytes = Cursor::new(bytes);
    let format = csv::reader::Format::default().with_header(true);
    let (schema, _) = format.infer_schema(&mut bytes, Some(ROWS_FOR_TYPES))?;
    bytes.rewind()?;
    let schema = Arc::new(with_text_names(&schema));
    let reader =
        csv::ReaderBuilder::new(Arc::clone(&schema)).with_header(true).with_batch_size(BATCH_ROWS).build(bytes)?;
    concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>()?)
}

fn read_json(bytes: Vec<u8>) -> Result<RecordBatch, ArrowError> {
    let mut bytes = Cursor::new(bytes);
    let (schema, _) = json::reader::infer_json_schema(&mut bytes, Some(ROWS_FOR_TYPES))?;
    bytes.rewind()?;
    let schema = Arc::new(with_text_names(&schema));
    let reader = json::ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(BATCH_ROWS).build(bytes)?;
    concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>()?)
}

fn read_parquet(bytes: Vec<u8>) -> Result<RecordBatch, ArrowError> {
    let bytes = bytes::Bytes::from(bytes);
    let metadata = sound_metadata(&bytes)?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let schema = Arc::clone(reader.schema());
    concat_batches(&schema, &reader.with_batch_size(BATCH_ROWS).build()?.collect::<Result<Vec<_>, _>>()?)
}

/// A file may be called `1` or `2024-01-01`.
fn with_text_names(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.name() == FILE_NAME {
        true => Field::new(FILE_NAME, DataType::Utf8, true),
        false => field.as_ref().clone(),
    });
    Schema::new(fields.collect::<Vec<_>>())
}
