//! The file format: messages with a footer that says where they lie.

use std::iter;
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use bytes::Bytes;

use super::check::{damaged, require_claim, schema_of};
use crate::Result;
use crate::cancel::Cancel;
use crate::dataset::batches::Batches;
use crate::dataset::guard::guarded;
use crate::location::{Location, OpenFile};

/// The footer's length and the format's name, at the end of a file.
const TRAILER_BYTES: usize = 10;

/// An opened file.
pub(in crate::dataset) struct ArrowFile {
    origin: String,
    file: OpenFile,
    schema: SchemaRef,
    version: ipc::MetadataVersion,
    dictionaries: Vec<ipc::Block>,
    batches: Vec<ipc::Block>,
}

impl ArrowFile {
    /// Reads the footer. The number of rows does not stand there.
    pub(in crate::dataset) fn open(location: &Location, cancel: &Cancel) -> Result<Self> {
        let origin = location.to_string();
        let file = location.open(cancel)?;
        let fault = |error: ArrowError| file.failure().unwrap_or_else(|| damaged(&origin, &error));
        let footer = read_footer(&file).map_err(fault)?;
        guarded(|| {
            let footer = ipc::root_as_footer(&footer);
            let footer = footer.map_err(|error| ArrowError::IpcError(format!("its footer: {error}")))?;
            let missing = || ArrowError::IpcError("its footer names no schema or no record batches".into());
            Ok(Self {
                origin: origin.clone(),
                file: file.clone(),
                schema: Arc::new(schema_of(footer.schema().ok_or_else(missing)?)?),
                version: footer.version(),
                dictionaries: footer.dictionaries().into_iter().flatten().copied().collect(),
                batches: footer.recordBatches().ok_or_else(missing)?.iter().copied().collect(),
            })
        })
        .map_err(fault)
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
        self.file.will_read_all();
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
    fn read(&self, block: &ipc::Block, number: usize) -> Result<Buffer> {
        let fault = |error: ArrowError| self.file.failure().unwrap_or_else(|| damaged(&self.origin, &error));
        let bytes = self.read_block(block).map_err(fault)?;
        let body = usize::try_from(block.metaDataLength()).expect("the block was read");
        require_claim(&self.origin, number, &bytes, body)?;
        Ok(Buffer::from(bytes))
    }

    fn read_block(&self, block: &ipc::Block) -> Result<Bytes, ArrowError> {
        let outside = || ArrowError::IpcError("a message lies outside the file".into());
        let number = |value: i64| u64::try_from(value).map_err(|_| outside());
        let (start, header, body) =
            (number(block.offset())?, number(block.metaDataLength().into())?, number(block.bodyLength())?);
        let length = header.checked_add(body).ok_or_else(outside)?;
        if start.checked_add(length).is_none_or(|end| end > self.file.len()) {
            return Err(outside());
        }
        Ok(self.file.read_at(start, usize::try_from(length).map_err(|_| outside())?)?)
    }
}

fn read_footer(file: &OpenFile) -> Result<Bytes, ArrowError> {
    let short = || ArrowError::IpcError("it is too short for its footer".into());
    let trailer_at = file.len().checked_sub(TRAILER_BYTES as u64).ok_or_else(short)?;
    let trailer = file.read_at(trailer_at, TRAILER_BYTES)?;
    let length = read_footer_length(trailer.as_ref().try_into().expect("as many as were asked for"))?;
    let footer_at = trailer_at.checked_sub(length as u64).ok_or_else(short)?;
    Ok(file.read_at(footer_at, length)?)
}
