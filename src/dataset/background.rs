//! A writer on a thread of its own: encoding and compressing do not hold up whoever makes the rows.

use std::thread;

use arrow::array::RecordBatch;
use crossbeam::channel::{Sender, bounded};

use super::DatasetWriter;
use crate::{Error, Result};

/// Record batches that may wait for the writer.
const WAITING: usize = 2;

/// Writes what it is given, in order. Errors come with a later call.
pub(crate) struct BackgroundWriter {
    messages: Option<Sender<Message>>,
    /// Gives the writer back once no rows will come, unless it was finished.
    thread: Option<Thread>,
}

type Thread = thread::JoinHandle<Result<Option<DatasetWriter>>>;

enum Message {
    Rows(RecordBatch),
    Finish,
}

impl BackgroundWriter {
    /// # Errors
    /// [`Error::Io`] if the system gives no more threads.
    pub fn try_new(mut writer: DatasetWriter) -> Result<Self> {
        let (sender, messages) = bounded(WAITING);
        let write_all = move || {
            for message in messages {
                match message {
                    Message::Rows(rows) => writer.write(&rows)?,
                    Message::Finish => return writer.finish().map(|()| None),
                }
            }
            Ok(Some(writer))
        };
        let thread = thread::Builder::new().name("dismax-writer".into()).spawn(write_all);
        let thread = thread.map_err(|error| Error::io("starting a thread", error))?;
        Ok(Self { messages: Some(sender), thread: Some(thread) })
    }

    /// Hands rows over; waits while the writer is behind.
    ///
    /// # Errors
    /// Those of writing rows that were handed over before.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.send(Message::Rows(rows.clone()))
    }

    /// The writer, once it has written everything.
    ///
    /// # Errors
    /// As [`BackgroundWriter::write`].
    pub fn into_writer(mut self) -> Result<DatasetWriter> {
        self.join()?.ok_or_else(gone)
    }

    /// Says that there are no more rows. The output gets its name while the caller goes on.
    ///
    /// # Errors
    /// As [`BackgroundWriter::write`].
    pub fn finish_later(mut self) -> Result<Finishing> {
        self.send(Message::Finish)?;
        Ok(Finishing(self))
    }

    fn send(&mut self, message: Message) -> Result<()> {
        let sender = self.messages.as_ref().ok_or_else(gone)?;
        if sender.send(message).is_ok() {
            return Ok(());
        }
        self.join().and(Err(gone()))
    }

    fn join(&mut self) -> Result<Option<DatasetWriter>> {
        self.messages = None;
        self.thread.take().ok_or_else(gone)?.join().map_err(|_| gone())?
    }
}

impl Drop for BackgroundWriter {
    fn drop(&mut self) {
        // A file that is not finished is removed by its writer, before anybody goes on.
        let _ = self.join();
    }
}

/// An output that has all its rows.
pub(crate) struct Finishing(BackgroundWriter);

impl Finishing {
    /// Waits until it has its name.
    ///
    /// # Errors
    /// Those of writing and of [`DatasetWriter::finish`].
    pub fn wait(mut self) -> Result<()> {
        self.0.join().map(drop)
    }
}

fn gone() -> Error {
    Error::Internal("the writer's thread ended before".into())
}
