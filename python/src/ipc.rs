//! Record batches as the bytes of an Arrow IPC stream, made as they are read: for what takes any dataset.

use std::io::{self, Read};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use dismax_udfs::Reading;

/// The bytes of a reading.
pub struct IpcBytes {
    reading: Option<Reading>,
    writer: StreamWriter<Vec<u8>>,
    /// Bytes of the writer's buffer that were read.
    read: usize,
}

impl IpcBytes {
    /// # Errors
    /// A schema that the format cannot hold.
    pub fn try_new(schema: &SchemaRef, reading: Reading) -> Result<Self, arrow::error::ArrowError> {
        Ok(Self { reading: Some(reading), writer: StreamWriter::try_new(Vec::new(), schema)?, read: 0 })
    }

    /// Writes the next record batch; false where there is none.
    fn advance(&mut self) -> io::Result<bool> {
        self.writer.get_mut().clear();
        self.read = 0;
        let Some(reading) = &mut self.reading else { return Ok(false) };
        let written = match reading.next() {
            Some(batch) => {
                let write = |batch: RecordBatch| self.writer.write(&batch).map_err(io::Error::other);
                batch.map_err(io::Error::other).and_then(write)
            }
            None => {
                self.reading = None;
                self.writer.finish().map_err(io::Error::other)
            }
        };
        written.map(|()| true)
    }
}

impl Read for IpcBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.writer.get_ref().len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let left = &self.writer.get_ref()[self.read..];
        let bytes = left.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&left[..bytes]);
        self.read += bytes;
        Ok(bytes)
    }
}
