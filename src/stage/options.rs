//! How a stage runs. None of it changes the scores, but for the device: a GPU computes in f16.

use std::thread;

use crate::dataset::LoadOptions;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{ModelConfig, ModelInput};
use crate::network::Architecture;

/// Rows of one pass through the network on a GPU, which wants much work at once.
const BATCH_ROWS_GPU: usize = 1024;
/// Bytes of preprocessed images in one pass on a GPU: 256 of 224x224 and fewer of larger ones.
const BATCH_BYTES_GPU: usize = 40 << 20;

/// Rows of one pass through a head: as many as make its products of matrices fast.
const BATCH_ROWS_EMBEDDINGS: usize = 1024;

/// Options of a stage.
#[derive(Debug, Clone, Default)]
pub struct StageOptions {
    /// Where the network runs.
    pub device: Device,
    /// Rows of one pass through the network; 0 chooses for the device.
    pub batch_rows: usize,
    /// Threads that decode, and on a CPU also run the network; 0 takes one per core.
    pub workers: usize,
    /// Column that the model scores; the only one that fits where none is named.
    pub column: Option<String>,
    /// How images are loaded: the limit on pixels, whether paths are read.
    pub load: LoadOptions,
}

impl StageOptions {
    pub(super) fn batch_rows_on(&self, gpu: bool, config: &ModelConfig) -> usize {
        match (self.batch_rows, &config.input) {
            (0, ModelInput::Images(images)) if gpu => {
                BATCH_ROWS_GPU.min(BATCH_BYTES_GPU / images.preprocessing.image_bytes().max(1)).max(1)
            }
            (0, ModelInput::Images(images)) => rows_in_cache(images.architecture),
            (0, ModelInput::Embeddings(_)) => BATCH_ROWS_EMBEDDINGS,
            (rows, _) => rows,
        }
    }

    pub(super) fn worker_count(&self) -> Result<usize> {
        worker_count(self.workers)
    }
}

/// Threads where `workers` were asked for: one per core for 0.
pub(super) fn worker_count(workers: usize) -> Result<usize> {
    match workers {
        0 => Ok(thread::available_parallelism().map_or(1, usize::from)),
        workers if workers <= 1024 => Ok(workers),
        workers => {
            Err(Error::Config(format!("{workers} workers are more than any machine has cores; give at most 1024")))
        }
    }
}

/// Rows of one pass on a CPU. Few keep the activations of a small network, or of large images, in the cache; a large
/// network reads hundreds of megabytes of weights in each pass, which more rows share.
fn rows_in_cache(architecture: Architecture) -> usize {
    match architecture {
        Architecture::Resnet34 | Architecture::Wrn2810 => 32,
        _ => 8,
    }
}
