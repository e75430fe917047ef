//! Standard input and pipes that can be given up: a read that waits for a silent sender would hold a stopped run for
//! ever.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::cancel::Cancel;
use crate::{Error, Result};

/// Bytes of a block.
const BLOCK: usize = 256 << 10;
/// Blocks read ahead.
const BLOCKS: usize = 4;
/// How often a waiting reader looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(100);

type Block = io::Result<Vec<u8>>;

/// Whether something reads standard input already.
static STDIN_TAKEN: AtomicBool = AtomicBool::new(false);

/// Reads what a thread of its own gets from standard input or a pipe.
pub(super) struct CancellablePipe {
    blocks: Receiver<Block>,
    block: Vec<u8>,
    used: usize,
    cancel: Cancel,
}

impl CancellablePipe {
    /// Standard input.
    ///
    /// # Errors
    /// [`Error::Config`] where it was taken before in this process.
    pub(super) fn stdin(cancel: &Cancel) -> Result<Self> {
        if STDIN_TAKEN.swap(true, Ordering::Relaxed) {
            return Err(read_once());
        }
        Self::of(|| Ok(io::stdin().lock()), cancel).map_err(|source| Error::io("stdin", source))
    }

    /// A named pipe. Opening it waits for a sender, as reading does.
    ///
    /// # Errors
    /// When the system gives no thread; what opening gives comes with the first read.
    pub(super) fn open(path: &Path, cancel: &Cancel) -> Result<Self> {
        let owned = path.to_path_buf();
        Self::of(|| File::open(owned), cancel).map_err(|source| Error::io(path, source))
    }

    fn of<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static, cancel: &Cancel) -> io::Result<Self> {
        let (sender, blocks) = bounded(BLOCKS);
        // The thread is left behind in its read when the run stops; the end of the process ends it.
        let body = move || match open() {
            Ok(reader) => read_all(reader, &sender),
            // Nobody listens any more once the run was stopped.
            Err(error) => drop(sender.send(Err(error))),
        };
        thread::Builder::new().name("dismax-pipe".into()).spawn(body)?;
        Ok(Self { blocks, block: Vec::new(), used: 0, cancel: cancel.clone() })
    }

    fn next_block(&mut self) -> io::Result<()> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other("stopped on request"));
            }
            match self.blocks.recv_timeout(PATIENCE) {
                Ok(block) => {
                    (self.block, self.used) = (block?, 0);
                    return Ok(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    (self.block, self.used) = (Vec::new(), 0);
                    return Ok(());
                }
            }
        }
    }
}

impl Read for CancellablePipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() && !buffer.is_empty() {
            self.next_block()?;
        }
        let mut rest = self.block.get(self.used..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.used += count;
        Ok(count)
    }
}

/// What a second reader of standard input is told.
pub fn read_once() -> Error {
    Error::Config("standard input (`-`) can be read only once".into())
}

/// Sends blocks until the input ends (and then hangs up), fails, or nobody listens.
fn read_all(mut reader: impl Read, sender: &Sender<Block>) {
    loop {
        let mut block = vec![0; BLOCK];
        let read = match reader.read(&mut block) {
            Ok(0) => return,
            Ok(count) => {
                block.truncate(count);
                Ok(block)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if sender.send(read).is_err() || failed {
            return;
        }
    }
}
