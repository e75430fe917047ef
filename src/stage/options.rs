//! How a stage runs. None of it changes the scores, but for the device: a GPU computes in bf16.

use std::thread;

use crate::dataset::LoadOptions;
use crate::device::Device;
use crate::error::{Error, Result};

/// Rows of one pass through the network on a CPU: activations of 32x32 images then stay in the cache.
const BATCH_ROWS_CPU: usize = 32;
/// The same on a GPU, which wants more work at once.
const BATCH_ROWS_GPU: usize = 256;

/// Options of a stage.
#[derive(Debug, Clone, Default)]
pub struct StageOptions {
    /// Where the network runs.
    pub device: Device,
    /// Rows of one pass through the network; 0 chooses for the device.
    pub batch_rows: usize,
    /// Threads that decode, and on a CPU also run the network; 0 takes one per core.
    pub workers: usize,
    /// Image column; the only one that fits where none is named.
    pub image: Option<String>,
    /// How images are loaded: the limit on pixels, whether paths are read.
    pub load: LoadOptions,
}

impl StageOptions {
    pub(super) fn batch_rows_on(&self, device: tch::Device) -> usize {
        match (self.batch_rows, device.is_cuda()) {
            (0, false) => BATCH_ROWS_CPU,
            (0, true) => BATCH_ROWS_GPU,
            (rows, _) => rows,
        }
    }

    pub(super) fn worker_count(&self) -> Result<usize> {
        match self.workers {
            0 => Ok(thread::available_parallelism().map_or(1, usize::from)),
            workers if workers <= 1024 => Ok(workers),
            workers => {
                Err(Error::Config(format!("{workers} workers are more than any machine has cores; give at most 1024")))
            }
        }
    }
}
