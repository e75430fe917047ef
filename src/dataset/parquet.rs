//! Parquet files as record batches.

use std::io::BufReader;
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use super::BatchSize;
use super::batches::Batches;
use super::footer;
use super::guard::guarded;
use super::int96;
use super::row_groups::RowGroups;
use crate::cancel::Cancel;
use crate::location::{Location, OpenFile, Sequential};
use crate::{Error, Result};

impl Length for OpenFile {
    fn len(&self) -> u64 {
        self.len()
    }
}

impl ChunkReader for OpenFile {
    type T = BufReader<Sequential>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.reader(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        Ok(self.read_at(start, length)?)
    }
}

/// What the footer says.
pub(super) struct Header {
    pub schema: SchemaRef,
    /// Rows and stored bytes of each row group.
    pub row_groups: Vec<(u64, u64)>,
}

impl Header {
    pub fn rows(&self) -> u64 {
        // A footer that lies may promise more rows than can be counted; reading will tell.
        self.row_groups.iter().map(|(rows, _)| *rows).fold(0, u64::saturating_add)
    }
}

/// Refuses a Parquet file whose footer counts what cannot be there, for those who give it to a reader of their own:
/// that would end the process. What has no footer at all passes, and is the reader's to refuse.
///
/// # Errors
/// [`Error::Data`] for such a footer, [`Error::Io`] for a file that cannot be read.
pub fn check_footer(location: &Location, cancel: &Cancel) -> Result<()> {
    let file = location.open(cancel)?;
    match footer_of(&file) {
        Ok(footer) => footer::check(&footer).map_err(|error| fault(&location.to_string(), &file, error)),
        Err(_) => file.failure().map_or(Ok(()), Err),
    }
}

/// Reads the footer of a file that is called `origin`.
pub(super) fn header(origin: &str, file: &OpenFile) -> Result<Header> {
    let metadata = metadata_of(origin, file)?;
    Ok(Header { schema: metadata.schema().clone(), row_groups: row_groups_of(&metadata) })
}

fn row_groups_of(metadata: &ArrowReaderMetadata) -> Vec<(u64, u64)> {
    // Damaged footers can hold anything; a negative count is none.
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    let groups = metadata.metadata().row_groups().iter();
    groups.map(|group| (count(group.num_rows()), count(group.compressed_size()))).collect()
}

/// The batches of the row groups `groups` of a file whose header promised `row_groups`. Pages are read as they are
/// needed, so memory does not grow with the row groups.
pub(super) fn batches(
    location: &Location,
    row_groups: &[(u64, u64)],
    groups: Range<usize>,
    size: BatchSize,
    projection: Option<&[usize]>,
    cancel: &Cancel,
) -> Result<Batches> {
    let origin = location.to_string();
    let file = location.open(cancel)?;
    let metadata = metadata_of(&origin, &file)?;
    // Other slices of the file may have been read already.
    if row_groups_of(&metadata) != row_groups {
        return Err(Error::data(&origin, "was replaced while it was read; run again"));
    }
    let columns = metadata.parquet_schema();
    let mask = match projection {
        Some(roots) => ProjectionMask::roots(columns, roots.iter().copied()),
        None => ProjectionMask::all(),
    };
    file.will_read(&column_chunks(&metadata, groups.clone(), &mask));
    let beyond = int96::beyond_microseconds(&file, &metadata, &mask).map_err(|error| fault(&origin, &file, error))?;
    if let Some((column, row)) = beyond {
        return Err(Error::data(
            format!("{origin}, column \"{column}\", row {row}"),
            "holds a time that microseconds since 1970 cannot express; correct it or leave the column out",
        ));
    }
    let mut groups = RowGroups::new(file.clone(), metadata, mask, size, groups);
    Ok(Box::new(iter::from_fn(move || groups.next_batch().map_err(|error| fault(&origin, &file, error)).transpose())))
}

/// Where the columns that are read lie in the file.
fn column_chunks(metadata: &ArrowReaderMetadata, groups: Range<usize>, mask: &ProjectionMask) -> Vec<Range<u64>> {
    let groups = metadata.metadata().row_groups().get(groups).unwrap_or_default();
    let columns = groups.iter().flat_map(|group| group.columns().iter().enumerate());
    let read = columns.filter(|(leaf, _)| mask.leaf_included(*leaf));
    // Damaged footers can hold anything.
    let place = |start: i64, length: i64| {
        let (start, length) = (u64::try_from(start).ok()?, u64::try_from(length).ok()?);
        Some(start..start.checked_add(length)?)
    };
    read.filter_map(|(_, column)| {
        let data = column.data_page_offset();
        place(column.dictionary_page_offset().map_or(data, |dictionary| dictionary.min(data)), column.compressed_size())
    })
    .collect()
}

fn metadata_of(origin: &str, file: &OpenFile) -> Result<ArrowReaderMetadata> {
    sound_metadata(file)
        .and_then(|metadata| int96::read_as(metadata, TimeUnit::Microsecond))
        .map_err(|error| fault(origin, file, error))
}

/// Reads the footer, looked at beforehand.
pub(super) fn sound_metadata(file: &impl ChunkReader) -> Result<ArrowReaderMetadata, ParquetError> {
    let footer = footer_of(file)?;
    footer::check(&footer)?;
    guarded(|| {
        let metadata = ParquetMetaDataReader::decode_metadata(&footer)?;
        ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
    })
}

/// The footer, which lies in front of its length and of the mark at the end of the file.
fn footer_of(file: &impl ChunkReader) -> Result<Bytes, ParquetError> {
    let short = |what: &str| ParquetError::General(format!("the file is shorter than its {what}"));
    let end = file.len().checked_sub(FOOTER_SIZE as u64).ok_or_else(|| short("end mark"))?;
    let tail = FooterTail::try_from(file.get_bytes(end, FOOTER_SIZE)?.as_ref())?;
    if tail.is_encrypted_footer() {
        return Err(ParquetError::NYI("an encrypted footer".into()));
    }
    let length = tail.metadata_length();
    let start = end.checked_sub(length as u64).ok_or_else(|| short("footer"))?;
    file.get_bytes(start, length)
}

/// A file that cannot be read is no damage, and neither is a codec or an encoding that is not.
fn fault(origin: &str, file: &OpenFile, error: ParquetError) -> Error {
    if let Some(failure) = file.failure() {
        return failure;
    }
    match error {
        ParquetError::NYI(what) => Error::data(origin, format!("this Parquet file uses what is not read: {what}")),
        error => Error::data(
            origin,
            format!(
                "this Parquet file is incomplete or damaged ({error}); write or download it again, or leave it out"
            ),
        ),
    }
}
