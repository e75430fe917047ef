//! What a worker does with one record batch.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use arrow::array::RecordBatch;
use crossbeam::channel::{Receiver, Sender, bounded};

use super::gpu::DeviceJob;
use super::scored::{Inspected, Scored, Timing};
use super::work::Counters;
use crate::dataset::{self, ImageColumn, Images, LoadOptions};
use crate::error::{Error, Result, RowError};
use crate::image::{Inspector, Preprocessing, ReusableResizer};
use crate::network::{Scorer, pinned};

/// Takes the scores of a record batch, on the worker's thread.
pub(super) type Answer = Box<dyn FnOnce(Result<Scored>) + Send>;

/// A record batch to score and where the answer goes.
pub(super) struct Job {
    pub record_batch: RecordBatch,
    pub column: ImageColumn,
    /// File that relative image paths are resolved against.
    pub file: Arc<str>,
    /// Gone with the stream that asked.
    pub stream: Weak<()>,
    pub answer: Answer,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("rows", &self.record_batch.num_rows()).field("file", &self.file).finish()
    }
}

/// Where a worker gets its logits.
#[derive(Debug)]
pub(super) enum Engine {
    /// A network of its own: on a CPU nothing is handed over while it is in the cache.
    Own(Box<Scorer>),
    /// The threads that feed the GPUs.
    Device(Sender<DeviceJob>),
}

impl Engine {
    fn logits(&self, pixels: Vec<u8>) -> Result<Vec<f32>> {
        match self {
            Self::Own(scorer) => scorer.logits(&pixels),
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

/// Decodes and scores record batches, one at a time.
#[derive(Debug)]
pub(super) struct Worker {
    pub engine: Engine,
    pub preprocessing: Preprocessing,
    pub classes: usize,
    pub batch_rows: usize,
    pub load: LoadOptions,
    pub inspect: bool,
    pub counters: Arc<Counters>,
}

impl Worker {
    /// Answers jobs until the stage is dropped.
    pub fn run(self, jobs: &Receiver<Job>) {
        // One thread in libtorch per worker: a worker per core beats operators that split themselves over the cores.
        tch::set_num_threads(1);
        let mut tools = Tools { resizer: ReusableResizer::default(), inspector: self.inspect.then(Inspector::default) };
        for job in jobs.iter().filter(|job| job.stream.strong_count() > 0) {
            let scored = self.score(&job, &mut tools);
            (job.answer)(scored);
        }
    }

    fn score(&self, job: &Job, tools: &mut Tools) -> Result<Scored> {
        let images = job.column.values(&job.record_batch)?;
        let count = job.record_batch.num_rows();
        let mut rows: Vec<Result<(), RowError>> = Vec::with_capacity(count);
        let mut logits = vec![0.0f32; count * self.classes];
        let mut timing = Timing::default();
        let mut inspected = Vec::with_capacity(if self.inspect { count } else { 0 });
        let mut start = 0;
        while start < count {
            let end = (start + self.batch_rows).min(count);
            let mut pixels = Vec::with_capacity((end - start) * self.preprocessing.image_bytes());
            let mut scored_rows = Vec::with_capacity(end - start);
            let clock = Instant::now();
            for row in start..end {
                let outcome = self.prepare(&images, row, &job.file, tools, &mut pixels);
                if outcome.is_ok() {
                    scored_rows.push(row);
                }
                let (outcome, seen) = match outcome {
                    Ok(seen) => (Ok(()), seen),
                    Err(error) => (Err(error), None),
                };
                rows.push(outcome);
                if self.inspect {
                    inspected.push(seen);
                }
            }
            timing.decode += clock.elapsed();
            self.counters.decoded(end - start);
            if !scored_rows.is_empty() {
                let clock = Instant::now();
                let values = self.engine.logits(pixels)?;
                timing.network += clock.elapsed();
                self.counters.passed(scored_rows.len());
                for (values, row) in values.chunks_exact(self.classes).zip(scored_rows) {
                    logits[row * self.classes..(row + 1) * self.classes].copy_from_slice(values);
                }
            }
            start = end;
        }
        Ok(Scored::new(rows, logits, self.classes, timing).with_inspected(inspected))
    }

    /// Appends the row's preprocessed image to `pixels`; on failure `pixels` is as before.
    fn prepare(
        &self,
        images: &Images,
        row: usize,
        file: &str,
        tools: &mut Tools,
        pixels: &mut Vec<u8>,
    ) -> Result<Option<Inspected>, RowError> {
        let image = images.get(row)?;
        let (image, inspected) = match &mut tools.inspector {
            None => (dataset::load(&image, file, &self.load)?, None),
            Some(inspector) => {
                let (pixels, source) = dataset::load_with_source(&image, file, &self.load)?;
                let image = inspector.inspect(&pixels)?;
                (pixels, Some(Inspected { image, source }))
            }
        };
        let start = pixels.len();
        pixels.resize(start + self.preprocessing.image_bytes(), 0);
        let written = self.preprocessing.apply_into(&image, &mut tools.resizer, &mut pixels[start..]);
        if written.is_err() {
            pixels.truncate(start);
        }
        written.map(|()| inspected)
    }
}

/// What a worker keeps from one image to the next.
struct Tools {
    resizer: ReusableResizer,
    /// None where images are not inspected.
    inspector: Option<Inspector>,
}
