//! The stream format: messages one after the other, also of a pipe.

use std::collections::VecDeque;
use std::fmt;
use std::io::Read;
use std::iter;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;

use super::check::{damaged, require_claim, schema_of};
use super::message::{self, Next};
use crate::dataset::batches::Batches;
use crate::dataset::guard::guarded;
use crate::{Error, Result};

/// A stream whose schema has been read and whose batches have not.
pub(in crate::dataset) struct Stream {
    origin: String,
    reader: Box<dyn Read + Send>,
    decoder: StreamDecoder,
    schema: SchemaRef,
    /// Record batches that were read.
    read: usize,
    /// A message without a body gives its batch only once the next has begun, so there may be two.
    ready: VecDeque<RecordBatch>,
    ended: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stream")
            .field("origin", &self.origin)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Reads the schema.
    pub(in crate::dataset) fn open(origin: &str, mut reader: Box<dyn Read + Send>) -> Result<Self> {
        let damaged = |error: ArrowError| damaged(origin, &error);
        let bytes = match message::read(&mut reader).map_err(damaged)? {
            Next::Message(bytes) => bytes,
            Next::End | Next::CutOff => return Err(cut_off(origin)),
        };
        let schema = message::parse(&bytes).and_then(|header| {
            let schema = header.header_as_schema();
            schema_of(schema.ok_or_else(|| ArrowError::IpcError("the first message is no schema".into()))?)
        });
        let schema = Arc::new(schema.map_err(damaged)?);
        let mut decoder = StreamDecoder::new();
        guarded(|| decoder.decode(&mut Buffer::from_vec(bytes))).map_err(damaged)?;
        Ok(Self { origin: origin.into(), reader, decoder, schema, read: 0, ready: VecDeque::new(), ended: false })
    }

    pub(in crate::dataset) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The batches. All columns are decoded, then those of the projection are kept.
    ///
    /// The format lets a writer end a stream by just closing it, but then nobody can tell the end from a writer that
    /// died: without the end-of-stream marker, which every usual writer sends, the last item is an error.
    pub(in crate::dataset) fn batches(mut self, projection: Option<&[usize]>) -> Batches {
        let projection = projection.map(<[usize]>::to_vec);
        Box::new(iter::from_fn(move || {
            let batch = self.advance().transpose()?;
            Some(batch.and_then(|batch| match &projection {
                Some(columns) => batch.project(columns).map_err(|error| damaged(&self.origin, &error)),
                None => Ok(batch),
            }))
        }))
    }

    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.read += 1;
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            // After an error nothing more is read.
            self.ended = true;
            let damaged = |error: ArrowError| damaged(&self.origin, &error);
            let (bytes, more) = match message::read(&mut self.reader).map_err(damaged)? {
                Next::Message(bytes) => (bytes, true),
                // The decoder needs it to give what it holds.
                Next::End => (vec![0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], false),
                Next::CutOff => return Err(cut_off(&self.origin)),
            };
            if more {
                let body = message::body_start(&bytes).map_err(damaged)?;
                require_claim(&self.origin, self.read, &bytes, body)?;
            }
            let mut buffer = Buffer::from_vec(bytes);
            while !buffer.is_empty() {
                self.ready.extend(guarded(|| self.decoder.decode(&mut buffer)).map_err(damaged)?);
            }
            self.ended = !more;
        }
    }
}

fn cut_off(origin: &str) -> Error {
    Error::data(
        origin,
        "this Arrow stream stops without its end-of-stream marker: rows may be missing; let what writes it finish and close \
         the stream (in a shell, `set -o pipefail` shows whether it failed)",
    )
}
