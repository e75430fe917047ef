//! Decoding and scoring on one thread.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::gpu::DeviceJob;
use super::observer::{Observed, Observer};
use super::scored::{Scored, Timing};
use super::stats::StatsCounters;
use crate::dataset::{Images, LoadOptions, OpenedImage};
use crate::error::{Error, Result, RowError};
use crate::image::{Pixels, ReusableResizer};
use crate::model::Model;
use crate::network::{Scorer, pinned};

/// Something for a worker to do.
pub(super) struct Job {
    /// Gone with the stream that asked.
    pub stream: Weak<()>,
    pub work: Box<dyn FnOnce(&mut Worker) + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("wanted", &(self.stream.strong_count() > 0)).finish_non_exhaustive()
    }
}

/// Where a worker gets its logits.
#[derive(Debug)]
pub(super) enum Engine {
    /// A network of its own: on a CPU nothing leaves the core while it is in the cache.
    Local(Box<Scorer>),
    /// The threads that feed the GPUs.
    Device(Sender<DeviceJob>),
}

impl Engine {
    fn logits(&self, pixels: Vec<u8>) -> Result<Vec<f32>> {
        match self {
            Self::Local(scorer) => scorer.logits(&pixels),
            Self::Device(device) => {
                let gone = || Error::Internal("the device thread ended unexpectedly".into());
                // Copied here, where it costs the device nothing, to memory that the device reads on its own.
                let pixels = pinned(&pixels)?;
                let (answer, answers) = bounded(1);
                device.send(DeviceJob { pixels, answer }).map_err(|_| gone())?;
                answers.recv().map_err(|_| gone())?
            }
        }
    }
}

/// Decodes and scores the images of one item at a time.
#[derive(Debug)]
pub(super) struct Worker {
    pub engine: Engine,
    pub model: Arc<Model>,
    pub batch_rows: usize,
    pub load: LoadOptions,
    pub counters: Arc<StatsCounters>,
    pub resizer: ReusableResizer,
}

impl Worker {
    /// Works until the stage is dropped. A panic ends its stream, not the worker: the pool keeps its size.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        // One libtorch thread for each worker: a worker per core beats operators that split themselves over the cores.
        tch::set_num_threads(1);
        for job in jobs.iter().filter(|job| job.stream.strong_count() > 0) {
            // The answer is dropped with the panic, which its stream sees as an error.
            if catch_unwind(AssertUnwindSafe(|| (job.work)(&mut self))).is_err() {
                self.resizer = ReusableResizer::default();
            }
        }
    }

    /// Logits of all images, in passes of at most `batch_rows`.
    pub fn score<O: Observer>(&mut self, images: &Images, observer: &O) -> Result<Scored<O::Value>> {
        let (count, classes) = (images.len(), self.model.classes().len());
        let mut rows: Vec<Result<(), RowError>> = Vec::with_capacity(count);
        let mut logits = vec![0.0f32; count * classes];
        let mut observed = Vec::with_capacity(count);
        let mut timing = Timing::default();
        while rows.len() < count {
            let (start, end) = (rows.len(), (rows.len() + self.batch_rows).min(count));
            let clock = Instant::now();
            let mut pixels = Vec::with_capacity((end - start) * self.model.config().preprocessing.image_bytes());
            for row in start..end {
                let (outcome, value) = self.prepare(images, row, observer, &mut pixels);
                rows.push(outcome);
                observed.push(value);
            }
            timing.decode += clock.elapsed();
            self.counters.decoded(end - start);
            if pixels.is_empty() {
                continue;
            }
            let clock = Instant::now();
            let values = self.engine.logits(pixels)?;
            timing.network += clock.elapsed();
            self.counters.passed(values.len() / classes);
            let scored_rows = (start..end).filter(|row| rows[*row].is_ok());
            for (values, row) in values.chunks_exact(classes).zip(scored_rows) {
                logits[row * classes..(row + 1) * classes].copy_from_slice(values);
            }
        }
        Ok(Scored::new(Arc::clone(&self.model), rows, logits, observed, timing))
    }

    /// Appends the row's preprocessed image to `pixels`, unless it fails.
    fn prepare<O: Observer>(
        &mut self,
        images: &Images,
        row: usize,
        observer: &O,
        pixels: &mut Vec<u8>,
    ) -> (Result<(), RowError>, O::Value) {
        let (encoded, decoded) = match self.load.open(images, row) {
            Ok(OpenedImage::Encoded(bytes)) => {
                let decoded = self.load.decode(&bytes);
                (Some(bytes), decoded)
            }
            Ok(OpenedImage::Raw(pixels)) => (None, Ok(pixels)),
            Err(error) => (None, Err(error)),
        };
        let value = observer.observe(&Observed { images, row, encoded: encoded.as_deref(), pixels: decoded.as_ref() });
        (decoded.and_then(|image| self.append(&image, pixels)), value)
    }

    fn append(&mut self, image: &Pixels, pixels: &mut Vec<u8>) -> Result<(), RowError> {
        let preprocessing = &self.model.config().preprocessing;
        let start = pixels.len();
        pixels.resize(start + preprocessing.image_bytes(), 0);
        let written = preprocessing.apply_into(image, &mut self.resizer, &mut pixels[start..]);
        if written.is_err() {
            pixels.truncate(start);
        }
        written
    }
}
