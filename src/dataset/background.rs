//! A writer on a thread of its own: encoding and compressing do not hold up whoever makes the rows.

use std::thread;

use arrow::array::RecordBatch;
use crossbeam::channel::{Sender, bounded};

use super::DatasetWriter;
use crate::{Error, Result};

/// Record batches that may wait for the writer.
const WAITING: usize = 2;

/// Writes what it is given, in order. Errors come with a later call.
pub(super) struct BackgroundWriter {
    rows: Option<Sender<RecordBatch>>,
    /// Gives the writer back once no rows will come.
    thread: Option<thread::JoinHandle<Result<DatasetWriter>>>,
}

impl BackgroundWriter {
    /// # Errors
    /// [`Error::Io`] if the system gives no more threads.
    pub fn try_new(mut writer: DatasetWriter) -> Result<Self> {
        let (sender, rows) = bounded::<RecordBatch>(WAITING);
        let write_all = move || {
            for rows in rows {
                writer.write(&rows)?;
            }
            Ok(writer)
        };
        let thread = thread::Builder::new().name("dismax-writer".into()).spawn(write_all);
        let thread = thread.map_err(|error| Error::io("starting a thread", error))?;
        Ok(Self { rows: Some(sender), thread: Some(thread) })
    }

    /// Hands rows over; waits while the writer is behind.
    ///
    /// # Errors
    /// Those of writing rows that were handed over before.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let sender = self.rows.as_ref().ok_or_else(gone)?;
        if sender.send(rows.clone()).is_ok() {
            return Ok(());
        }
        self.join().and(Err(gone()))
    }

    /// The writer, once it has written everything.
    ///
    /// # Errors
    /// As [`BackgroundWriter::write`].
    pub fn into_writer(mut self) -> Result<DatasetWriter> {
        self.join()
    }

    fn join(&mut self) -> Result<DatasetWriter> {
        self.rows = None;
        self.thread.take().ok_or_else(gone)?.join().map_err(|_| gone())?
    }
}

impl Drop for BackgroundWriter {
    fn drop(&mut self) {
        // A file that is not finished is removed by its writer, before anybody goes on.
        let _ = self.join();
    }
}

fn gone() -> Error {
    Error::Internal("the writer's thread ended before".into())
}
