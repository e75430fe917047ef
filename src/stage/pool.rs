//! The stage: a pool of workers with one model.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::gpu::{DeviceJob, LANES_PER_DEVICE, Lane};
use super::observer::Observer;
use super::options::StageOptions;
use super::scored::Scored;
use super::stats::{StageStats, StatsCounters};
use super::worker::{Engine, Job, Worker};
use crate::dataset::{BatchSize, Dataset, ImageColumn, Images, LoadOptions};
use crate::error::{Error, Result};
use crate::image::ReusableResizer;
use crate::model::Model;
use crate::network::Scorer;

/// Items that a stream keeps in flight for each worker: one being scored, one waiting.
const IN_FLIGHT_PER_WORKER: usize = 2;
/// Bytes that a stream keeps in flight, not counting the newest item: with photographs fewer rows than with thumbnails.
pub(super) const MAX_IN_FLIGHT_BYTES: usize = 256 << 20;
/// Passes through the network that one item should feed.
const PASSES_PER_ITEM: usize = 2;
/// Smallest useful item where bytes allow it: below this the fixed cost of an item shows.
const MIN_CHUNK_ROWS: usize = 64;

/// A model with the threads that score images with it. Dropping it ends the threads.
#[derive(Debug)]
pub struct Stage {
    model: Arc<Model>,
    jobs: Option<Sender<Job>>,
    threads: Vec<thread::JoinHandle<()>>,
    workers: usize,
    image: Option<String>,
    load: LoadOptions,
    batch_rows: usize,
    gpus: usize,
    counters: Arc<StatsCounters>,
}

impl Stage {
    /// Builds the networks on the devices, checks on each that the model's expected outputs are reproduced, and starts
    /// the workers.
    ///
    /// # Errors
    /// A device that is not there, a model that gives other outputs here than where it was made, too little memory.
    pub fn try_new(model: impl Into<Arc<Model>>, options: &StageOptions) -> Result<Self> {
        let model = model.into();
        let devices = options.device.resolve_all()?;
        let gpus = devices.iter().filter(|device| device.is_cuda()).count();
        let batch_rows = options.batch_rows_on(gpus > 0, model.config());
        let count = options.worker_count()?;
        let mut scorers = Vec::with_capacity(devices.len());
        for device in devices {
            let scorer = model.scorer(device)?;
            // It also packs the weights, which the scorers of other threads then share.
            model.self_check().verify(&scorer).map_err(|message| Error::model(model.path(), message))?;
            scorers.push(scorer);
        }
        // Unbounded: each stream bounds what it has in flight, and a full queue would block the thread that submits,
        // which may be one of an asynchronous runtime.
        let (jobs, queue) = unbounded();
        let counters = Arc::new(StatsCounters::default());
        let mut stage = Self {
            model,
            jobs: Some(jobs),
            threads: Vec::new(),
            workers: 0,
            image: options.image.clone(),
            load: options.load,
            batch_rows,
            gpus,
            counters,
        };
        let engines = if gpus > 0 { stage.start_devices(scorers, count)? } else { local_engines(scorers, count) };
        for engine in engines {
            stage.start_worker(engine, queue.clone())?;
        }
        Ok(stage)
    }

    /// Starts the threads that feed the GPUs; returns the workers' ways to them.
    fn start_devices(&mut self, scorers: Vec<Scorer>, workers: usize) -> Result<Vec<Engine>> {
        let (sender, device_jobs) = bounded::<DeviceJob>(workers);
        // A worker waits while its batch is on the device; one more for each lane decodes meanwhile.
        let count = workers + LANES_PER_DEVICE * scorers.len();
        for scorer in scorers {
            let (most_rows, busy) = (Arc::new(AtomicUsize::new(self.batch_rows)), self.counters.device());
            for _ in 0..LANES_PER_DEVICE {
                let lane = Lane { scorer: scorer.share(), most_rows: Arc::clone(&most_rows), busy: Arc::clone(&busy) };
                let jobs = device_jobs.clone();
                self.threads.push(spawn("dismax-device", move || lane.run(&jobs))?);
            }
        }
        Ok((0..count).map(|_| Engine::Device(sender.clone())).collect())
    }

    fn start_worker(&mut self, engine: Engine, queue: Receiver<Job>) -> Result<()> {
        let worker = Worker {
            engine,
            model: Arc::clone(&self.model),
            batch_rows: self.batch_rows,
            load: self.load,
            counters: Arc::clone(&self.counters),
            resizer: ReusableResizer::default(),
        };
        self.threads.push(spawn("dismax-worker", move || worker.run(&queue))?);
        self.workers += 1;
        Ok(())
    }

    /// The model that every score comes from.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// GPUs that the network runs on; 0 where it runs on the CPU.
    pub fn gpus(&self) -> usize {
        self.gpus
    }

    /// How images are loaded.
    pub fn load_options(&self) -> LoadOptions {
        self.load
    }

    /// What was done since the stage was made, over all streams.
    pub fn stats(&self) -> StageStats {
        self.counters.read()
    }

    /// The image column of a dataset: the one that the options name, or the only one that fits.
    ///
    /// # Errors
    /// As [`Dataset::image_column`], and for a column of paths where the options do not allow reading them: every row
    /// would fail.
    pub fn image_column(&self, dataset: &Dataset) -> Result<ImageColumn> {
        let column = dataset.image_column(self.image.as_deref())?;
        self.load.require_paths(&column)?;
        Ok(column)
    }

    /// How large the record batches of a dataset should be: enough rows to keep a worker busy, few enough that
    /// everything in flight stays within 256 MiB.
    pub fn batch_size(&self) -> BatchSize {
        BatchSize { rows: self.max_chunk_rows(), bytes: self.max_chunk_bytes() }
    }

    /// Largest useful number of images in an item: more add latency and no throughput.
    pub fn max_chunk_rows(&self) -> usize {
        self.batch_rows.saturating_mul(PASSES_PER_ITEM).max(MIN_CHUNK_ROWS)
    }

    /// Bytes that an item should not exceed, so that everything in flight stays within 256 MiB.
    pub fn max_chunk_bytes(&self) -> usize {
        MAX_IN_FLIGHT_BYTES / self.items_in_flight()
    }

    /// Items in flight that keep all workers busy.
    pub fn items_in_flight(&self) -> usize {
        self.workers.max(1) * IN_FLIGHT_PER_WORKER
    }

    /// Hands images to the workers and returns at once. `answer` is called with their scores on a worker's thread, so
    /// it must not block; it is dropped uncalled where `stream` is gone before a worker takes the images.
    ///
    /// The caller bounds what it has in flight ([`Stage::items_in_flight`], [`Stage::max_chunk_bytes`]): nothing here
    /// waits.
    ///
    /// # Errors
    /// [`Error::Internal`] where no worker is left.
    pub fn submit(
        &self,
        images: Images,
        stream: Weak<()>,
        answer: impl FnOnce(Result<Scored>) + Send + 'static,
    ) -> Result<()> {
        self.submit_observed(images, &Arc::new(()), stream, answer)
    }

    pub(super) fn submit_observed<O: Observer>(
        &self,
        images: Images,
        observer: &Arc<O>,
        stream: Weak<()>,
        answer: impl FnOnce(Result<Scored<O::Value>>) + Send + 'static,
    ) -> Result<()> {
        let observer = Arc::clone(observer);
        let work = Box::new(move |worker: &mut Worker| answer(worker.score(&images, &*observer)));
        let jobs = self.jobs.as_ref().expect("the queue is closed only when the stage is dropped");
        jobs.send(Job { stream, work }).map_err(|_| worker_ended())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Without a sender the workers' loops end, and with them the device's.
        self.jobs = None;
        for thread in self.threads.drain(..).rev() {
            // A thread that panicked has already failed its stream.
            let _ = thread.join();
        }
    }
}

/// A network for each worker, all with the same weights.
fn local_engines(scorers: Vec<Scorer>, workers: usize) -> Vec<Engine> {
    let local = |scorer: Scorer| Engine::Local(Box::new(scorer));
    let each = |scorer: Scorer| {
        let shared: Vec<Engine> = (1..workers).map(|_| local(scorer.share())).collect();
        shared.into_iter().chain([local(scorer)])
    };
    scorers.into_iter().flat_map(each).collect()
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(body).map_err(|error| Error::io(name, error))
}

/// The error of a stream whose answer was dropped.
pub(super) fn worker_ended() -> Error {
    Error::Internal("a scoring worker ended unexpectedly".into())
}
