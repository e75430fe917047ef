//! The file format: messages with a footer that says where they lie.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::iter;
use std::path::Path;
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::reader::{FileDecoder, read_footer_length};

use super::check::{damaged, require_claim, schema_of};
use crate::dataset::batches::Batches;
use crate::dataset::guard::guarded;
use crate::{Error, Result};

/// The footer's length and the format's name, at the end of a file.
const TRAILER_BYTES: usize = 10;

/// An opened file.
pub(in crate::dataset) struct ArrowFile {
    origin: String,
    file: File,
    file_bytes: u64,
    schema: SchemaRef,
    version: ipc::MetadataVersion,
    dictionaries: Vec<ipc::Block>,
    batches: Vec<ipc::Block>,
}

impl ArrowFile {
    /// Reads the footer. The number of rows does not stand there.
    pub(in crate::dataset) fn open(path: &Path) -> Result<Self> {
        let origin = path.display().to_string();
        let mut file = File::open(path).map_err(|source| Error::io(path, source))?;
        let file_bytes = file.metadata().map_err(|source| Error::io(path, source))?.len();
        let footer = read_footer(&mut file, file_bytes).map_err(|error| damaged(&origin, &error))?;
        guarded(|| {
            let footer = ipc::root_as_footer(&footer);
            let footer = footer.map_err(|error| ArrowError::IpcError(format!("its footer: {error}")))?;
            let missing = || ArrowError::IpcError("its footer names no schema or no record batches".into());
            Ok(Self {
                origin: origin.clone(),
                file,
                file_bytes,
                schema: Arc::new(schema_of(footer.schema().ok_or_else(missing)?)?),
                version: footer.version(),
                dictionaries: footer.dictionaries().into_iter().flatten().copied().collect(),
                batches: footer.recordBatches().ok_or_else(missing)?.iter().copied().collect(),
            })
        })
        .map_err(|error: ArrowError| damaged(&origin, &error))
    }

    pub(in crate::dataset) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The batches, one after the other, as long as they were written.
    pub(in crate::dataset) fn batches(mut self, projection: Option<&[usize]>) -> Result<Batches> {
        let mut decoder = FileDecoder::new(self.schema(), self.version);
        if let Some(columns) = projection {
            decoder = decoder.with_projection(columns.to_vec());
        }
        for block in std::mem::take(&mut self.dictionaries) {
            let bytes = self.read(&block, 0)?;
            guarded(|| decoder.read_dictionary(&block, &bytes)).map_err(|error| damaged(&self.origin, &error))?;
        }
        let mut blocks = std::mem::take(&mut self.batches).into_iter().enumerate();
        Ok(Box::new(iter::from_fn(move || {
            let (number, block) = blocks.next()?;
            let batch = self.read(&block, number).and_then(|bytes| {
                guarded(|| decoder.read_record_batch(&block, &bytes)).map_err(|error| damaged(&self.origin, &error))
            });
            batch.transpose()
        })))
    }

    /// The bytes of a message of the record batch `number`.
    fn read(&mut self, block: &ipc::Block, number: usize) -> Result<Buffer> {
        let bytes = self.read_block(block).map_err(|error| damaged(&self.origin, &error))?;
        let body = usize::try_from(block.metaDataLength()).expect("the block was read");
        require_claim(&self.origin, number, &bytes, body)?;
        Ok(Buffer::from_vec(bytes))
    }

    fn read_block(&mut self, block: &ipc::Block) -> Result<Vec<u8>, ArrowError> {
        let outside = || ArrowError::IpcError("a message lies outside the file".into());
        let number = |value: i64| u64::try_from(value).map_err(|_| outside());
        let (start, header, body) =
            (number(block.offset())?, number(block.metaDataLength().into())?, number(block.bodyLength())?);
        let length = header.checked_add(body).ok_or_else(outside)?;
        if start.checked_add(length).is_none_or(|end| end > self.file_bytes) {
            return Err(outside());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| outside())?];
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn read_footer(file: &mut File, file_bytes: u64) -> Result<Vec<u8>, ArrowError> {
    let short = || ArrowError::IpcError("it is too short for its footer".into());
    let trailer_at = file_bytes.checked_sub(TRAILER_BYTES as u64).ok_or_else(short)?;
    let mut trailer = [0; TRAILER_BYTES];
    file.seek(SeekFrom::Start(trailer_at))?;
    file.read_exact(&mut trailer)?;
    let length = read_footer_length(trailer)?;
    file.seek(SeekFrom::Start(trailer_at.checked_sub(length as u64).ok_or_else(short)?))?;
    let mut footer = vec![0; length];
    file.read_exact(&mut footer)?;
    Ok(footer)
}
