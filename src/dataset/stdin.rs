//! Standard input that can be given up: a read that waits for a silent sender would hold a stopped run for ever.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::cancel::Cancel;

/// Bytes of a block.
const BLOCK: usize = 256 << 10;
/// Blocks read ahead.
const BLOCKS: usize = 4;
/// How often a waiting reader looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(100);

type Block = io::Result<Vec<u8>>;

/// Reads what a thread of its own gets from standard input.
pub(super) struct CancellableStdin {
    blocks: Receiver<Block>,
    block: Vec<u8>,
    used: usize,
    cancel: Cancel,
}

impl CancellableStdin {
    pub(super) fn new(cancel: &Cancel) -> io::Result<Self> {
        let (sender, blocks) = bounded(BLOCKS);
        // The thread is left behind in its read when the run stops; the end of the process ends it.
        thread::Builder::new().name("dismax-stdin".into()).spawn(move || read_all(&sender))?;
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

impl Read for CancellableStdin {
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

/// Sends blocks until the input ends (and then hangs up), fails, or nobody listens.
fn read_all(sender: &Sender<Block>) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut block = vec![0; BLOCK];
        let read = match stdin.read(&mut block) {
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
