//! The stage: a pool of workers with one model.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use crossbeam::sync::WaitGroup;

use super::accelerator::{Accelerator, PASSES_IN_FLIGHT, PASSES_WAITING, finish_passes, start_passes};
use super::cuda::Cuda;
use super::observer::Observer;
use super::options::StageOptions;
use super::scored::Scored;
use super::slots::{SlotShape, Slots};
use super::stats::{StageStats, StatsCounters};
use super::worker::{Decoder, Engine, Job, Worker};
use crate::dataset::{BatchSize, Dataset, InputColumn, InputRows, LoadOptions};
use crate::error::{Error, Result, RowErrorCode};
use crate::image::ReusableResizer;
use crate::model::{Model, ModelInput};
use crate::network::Scorer;

/// Items that a stream keeps in flight for each worker: one being scored, one waiting.
const IN_FLIGHT_PER_WORKER: usize = 2;
/// Bytes that a stream keeps in flight, not counting the newest item: with photographs fewer rows than with thumbnails.
pub(super) const MAX_IN_FLIGHT_BYTES: usize = 96 << 20;
/// Passes through the network that one item should feed.
const PASSES_PER_ITEM: usize = 2;
/// Slots besides those that a device has: one that is filled, one that waits for the device.
const SLOTS_AT_HOST: usize = 2;
/// Bytes of one slot at most.
const MAX_SLOT_BYTES: usize = 1 << 30;
/// Smallest useful item where bytes allow it: below this the fixed cost of an item shows.
pub(super) const MIN_CHUNK_ROWS: usize = 64;

/// A model with the threads that score images with it. Dropping it ends the threads.
#[derive(Debug)]
pub struct Stage {
    model: Arc<Model>,
    jobs: Option<Sender<Job>>,
    workers: Vec<thread::JoinHandle<()>>,
    /// Where images wait for GPUs, and the threads that feed these.
    slots: Option<Arc<Slots>>,
    device_threads: Vec<thread::JoinHandle<()>>,
    column: Option<String>,
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
        if model.input().embeddings().is_some() {
            return Self::of_embeddings(model, options);
        }
        let devices = options.device.resolve_all()?;
        let mut scorers = Vec::with_capacity(devices.len());
        for &device in &devices {
            let scorer = model.scorer(device)?;
            // It also packs the weights, which the scorers of other threads then share.
            model.self_check().verify(&scorer).map_err(|message| Error::model(model.path(), message))?;
            scorers.push(scorer);
        }
        let gpus = devices.iter().filter(|device| device.is_cuda()).count();
        let mut stage = Self::without_workers(model, options, gpus);
        let count = options.worker_count()?;
        if gpus == 0 {
            stage.start_workers(local_engines(scorers, count))?;
            return Ok(stage);
        }
        let shape = stage.slot_shape()?;
        let accelerators = devices.into_iter().zip(scorers).map(|(device, scorer)| match device {
            tch::Device::Cuda(index) => Cuda::try_new(index, &stage.model, scorer, shape),
            other => Err(Error::Internal(format!("{other:?} is no GPU"))),
        });
        let accelerators = accelerators.collect::<Result<Vec<_>>>()?;
        stage.start_devices(accelerators, shape, count)?;
        Ok(stage)
    }

    /// Heads on embeddings always run on the CPU: reading takes longer than the arithmetic.
    fn of_embeddings(model: Arc<Model>, options: &StageOptions) -> Result<Self> {
        let scorer = model.embedding_scorer()?;
        model.self_check().verify_embeddings(&scorer).map_err(|message| Error::model(model.path(), message))?;
        let mut stage = Self::without_workers(model, options, 0);
        let workers = options.worker_count()?;
        stage.start_workers((0..workers).map(|_| Engine::Embeddings(scorer.clone())).collect())?;
        Ok(stage)
    }

    pub(super) fn without_workers(model: Arc<Model>, options: &StageOptions, gpus: usize) -> Self {
        let batch_rows = options.batch_rows_on(gpus > 0, model.config());
        Self {
            jobs: None,
            workers: Vec::new(),
            slots: None,
            device_threads: Vec::new(),
            column: options.column.clone(),
            load: match model.input() {
                ModelInput::Images(images) => LoadOptions { decoding: images.preprocessing.decoding(), ..options.load },
                ModelInput::Embeddings(_) => options.load,
            },
            model,
            batch_rows,
            gpus,
            counters: Arc::new(StatsCounters::default()),
        }
    }

    pub(super) fn slot_shape(&self) -> Result<SlotShape> {
        let images = self.model.input().images().expect("slots are filled with images");
        let shape = SlotShape::new(self.batch_rows, images.preprocessing.image_bytes());
        match shape.bytes() <= MAX_SLOT_BYTES {
            true => Ok(shape),
            false => Err(Error::Config(format!(
                "passes of {} images of {} bytes are more than a GPU is given at once; use at most {} rows",
                shape.rows,
                shape.image_bytes,
                MAX_SLOT_BYTES / shape.image_bytes
            ))),
        }
    }

    /// Starts `workers` threads that decode, and two threads for each device that feed it.
    pub(super) fn start_devices<A: Accelerator>(
        &mut self,
        devices: Vec<A>,
        shape: SlotShape,
        workers: usize,
    ) -> Result<()> {
        let slots = Arc::new(Slots::new(SLOTS_AT_HOST + PASSES_IN_FLIGHT * devices.len(), shape));
        self.slots = Some(Arc::clone(&slots));
        let (width, count) = (self.model.values_width(true), devices.len());
        let (ready, warm) = bounded(count);
        for device in devices {
            let (sender, started) = bounded(PASSES_WAITING);
            let (starts, ready) = (Arc::clone(&slots), ready.clone());
            let start = move || start_passes(device, &starts, &ready, &sender);
            self.device_threads.push(spawn("dismax-device", start)?);
            let (finishes, counters) = (Arc::clone(&slots), Arc::clone(&self.counters));
            let finish = move || finish_passes(&started, &finishes, width, &counters);
            self.device_threads.push(spawn("dismax-logits", finish)?);
        }
        drop(ready);
        for _ in 0..count {
            warm.recv().map_err(|_| Error::Internal("the device's thread ended unexpectedly".into()))??;
        }
        self.start_workers((0..workers).map(|_| Engine::Devices(Arc::clone(&slots))).collect())
    }

    fn start_workers(&mut self, engines: Vec<Engine>) -> Result<()> {
        // Unbounded: each stream bounds what it has in flight, and a full queue would block the thread that submits,
        // which may be one of an asynchronous runtime.
        let (jobs, queue) = unbounded();
        self.jobs = Some(jobs);
        // Each worker limits itself to one thread, which libtorch also takes as the setting of threads to come: those
        // of whoever else uses libtorch in this process. So it is taken back. One stage at a time: another must not
        // take this one's setting for the process's.
        static STARTING: Mutex<()> = Mutex::new(());
        let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let (threads, started) = (tch::get_num_threads(), WaitGroup::new());
        for engine in engines {
            let decoder = Decoder {
                model: Arc::clone(&self.model),
                batch_rows: self.batch_rows,
                load: self.load,
                counters: Arc::clone(&self.counters),
                resizer: ReusableResizer::default(),
            };
            let (worker, queue): (_, Receiver<Job>) = (Worker { engine, decoder }, queue.clone());
            let started = started.clone();
            self.workers.push(spawn("dismax-worker", move || worker.run(&queue, started))?);
        }
        started.wait();
        tch::set_num_threads(threads);
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

    /// The column that the options name.
    pub fn wanted_column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    /// How images are loaded.
    pub fn load_options(&self) -> LoadOptions {
        self.load
    }

    /// What was done since the stage was made, over all streams.
    pub fn stats(&self) -> StageStats {
        self.counters.read()
    }

    /// Rows without scores since the stage was made, by the reason.
    pub fn row_errors(&self) -> BTreeMap<RowErrorCode, u64> {
        self.counters.errors()
    }

    /// Items that wait for a worker.
    pub fn queued(&self) -> usize {
        self.jobs.as_ref().map_or(0, Sender::len)
    }

    /// The column of a dataset that the model scores: the one that the options name, or the only one that fits.
    ///
    /// # Errors
    /// As [`Dataset::image_column`] and [`Dataset::embedding_column`], and for a column of paths where the options do
    /// not allow reading them: every row would fail.
    pub fn input_column(&self, dataset: &Dataset) -> Result<InputColumn> {
        self.model.input_column(dataset, self.column.as_deref(), &self.load)
    }

    /// How large the record batches of a dataset should be: enough rows to keep a worker busy, few enough that
    /// everything in flight stays within 96 MiB.
    pub fn batch_size(&self) -> BatchSize {
        BatchSize { rows: self.max_chunk_rows(), bytes: self.max_chunk_bytes() }
    }

    /// Largest useful number of images in an item: more add latency and no throughput.
    pub fn max_chunk_rows(&self) -> usize {
        self.batch_rows.saturating_mul(PASSES_PER_ITEM).max(MIN_CHUNK_ROWS)
    }

    /// Bytes that an item should not exceed, so that everything in flight stays within 96 MiB.
    pub fn max_chunk_bytes(&self) -> usize {
        MAX_IN_FLIGHT_BYTES / self.items_in_flight()
    }

    /// Items in flight that keep all workers busy.
    pub fn items_in_flight(&self) -> usize {
        self.workers.len().max(1) * IN_FLIGHT_PER_WORKER
    }

    /// Hands images or embeddings to the workers and returns at once. `answer` is called with their scores on a thread
    /// of the stage, so it must not block; it is dropped uncalled where `stream` is gone before a worker takes them.
    ///
    /// The caller bounds what it has in flight ([`Stage::items_in_flight`], [`Stage::max_chunk_bytes`]): nothing here
    /// waits.
    ///
    /// # Errors
    /// [`Error::Internal`] where no worker is left.
    pub fn submit(
        &self,
        rows: impl Into<InputRows>,
        stream: Weak<()>,
        answer: impl FnOnce(Result<Scored>) + Send + 'static,
    ) -> Result<()> {
        self.submit_observed(rows, &Arc::new(()), stream, answer)
    }

    /// As [`Stage::submit`], with an observer that sees every image.
    ///
    /// # Errors
    /// As [`Stage::submit`].
    pub fn submit_observed<O: Observer>(
        &self,
        rows: impl Into<InputRows>,
        observer: &Arc<O>,
        stream: Weak<()>,
        answer: impl FnOnce(Result<Scored<O::Value>>) + Send + 'static,
    ) -> Result<()> {
        let (rows, observer) = (rows.into(), Arc::clone(observer));
        let to_decode = self.slots.as_ref().map(Slots::expect_item);
        let work = Box::new(move |worker: &mut Worker| {
            worker.score(&rows, &*observer, answer);
            drop(to_decode);
        });
        let jobs = self.jobs.as_ref().expect("the queue is closed only when the stage is dropped");
        jobs.send(Job { stream, work }).map_err(|_| worker_ended())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Without a sender the workers' loops end. They may wait for room in a slot until then.
        self.jobs = None;
        // A thread that panicked has already failed its stream.
        self.workers.drain(..).for_each(|thread| drop(thread.join()));
        if let Some(slots) = &self.slots {
            slots.end();
        }
        self.device_threads.drain(..).for_each(|thread| drop(thread.join()));
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
