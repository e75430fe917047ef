//! The streaming stage: record batches in, logits out, in order, with bounded memory.
//!
//! A pool of threads decodes and scores; on a CPU each owns a network, while GPUs are fed by threads of their own. Any number of
//! streams share the pool. A stream keeps a fixed number of record batches in flight and yields them in their order.

mod gpu;
mod options;
mod scored;
mod work;
mod worker;

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::thread;

use arrow::array::RecordBatch;
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use self::gpu::{DeviceJob, LANES_PER_DEVICE, Lane};
pub use self::options::StageOptions;
pub use self::scored::{Inspected, Scored, Timing};
use self::work::Counters;
pub use self::work::Work;
use self::worker::{Engine, Job, Worker};
use crate::dataset::{Chunk, Dataset, ImageColumn, LoadOptions, used_bytes};
use crate::error::{Error, Result};
use crate::model::Model;

/// Record batches that a stream keeps in flight for each worker: one being scored, one waiting.
const IN_FLIGHT_PER_WORKER: usize = 2;
/// Bytes of rows that a stream keeps in flight, the newest record batch not counted: with photographs fewer rows than
/// with thumbnails.
const IN_FLIGHT_BYTES: u64 = 256 << 20;
/// Passes through the network that one record batch should feed.
const PASSES_PER_BATCH: usize = 2;
/// Rows that a record batch has at least, where bytes allow: what is done once for each should not show.
const LEAST_CHUNK_ROWS: usize = 64;

/// A pool of workers that score images with one model. Dropping it ends the workers.
#[derive(Debug)]
pub struct Stage {
    jobs: Option<Sender<Job>>,
    workers: Vec<thread::JoinHandle<()>>,
    image: Option<String>,
    load: LoadOptions,
    inspect: bool,
    batch_rows: usize,
    devices: Vec<tch::Device>,
    counters: Arc<Counters>,
}

impl Stage {
    /// Builds the networks on the devices, checks on each that the bundle's expected outputs are reproduced, and starts the
    /// workers.
    ///
    /// # Errors
    /// A device that is not there, a model that gives other outputs here than where it was made, too little memory.
    pub fn new(model: &Model, options: &StageOptions) -> Result<Self> {
        let devices = options.device.resolve_all()?;
        let on_gpu = devices.iter().any(|device| device.is_cuda());
        let batch_rows = options.batch_rows_on(on_gpu, model.config());
        let count = options.worker_count()?;
        let mut scorers = Vec::new();
        for device in &devices {
            let scorer = model.scorer(*device)?;
            // It also packs the weights, which the scorers of other threads then share.
            model.self_check().verify(&scorer).map_err(|message| Error::model(model.path(), message))?;
            scorers.push(scorer);
        }

        // Without a bound of its own: each stream bounds what it has in flight, and a full queue would block the thread that
        // submits, which may be one of an asynchronous runtime.
        let (jobs, job_receiver) = unbounded::<Job>();
        let counters = Arc::new(Counters::default());
        let mut workers = Vec::new();
        let mut engines = Vec::new();
        if on_gpu {
            let (sender, device_jobs) = bounded::<DeviceJob>(count);
            for scorer in scorers {
                let (most_rows, busy) = (Arc::new(AtomicUsize::new(batch_rows)), counters.device());
                for _ in 0..LANES_PER_DEVICE {
                    let (scorer, most_rows, busy) = (scorer.share(), Arc::clone(&most_rows), Arc::clone(&busy));
                    let (lane, jobs) = (Lane { scorer, most_rows, busy }, device_jobs.clone());
                    workers.push(spawn("dismax-device", move || lane.run(&jobs))?);
                    // A worker waits while its batch is on the device; one more decodes meanwhile.
                    engines.push(Engine::Device(sender.clone()));
                }
            }
            engines.extend((0..count).map(|_| Engine::Device(sender.clone())));
        } else {
            for scorer in scorers {
                engines.extend((1..count).map(|_| Engine::Own(Box::new(scorer.share()))));
                engines.push(Engine::Own(Box::new(scorer)));
            }
        }
        for engine in engines {
            let worker = Worker {
                engine,
                preprocessing: model.config().preprocessing.clone(),
                classes: model.classes().len(),
                batch_rows,
                load: options.load,
                inspect: options.inspect,
                counters: Arc::clone(&counters),
            };
            let jobs = job_receiver.clone();
            workers.push(spawn("dismax-worker", move || worker.run(&jobs))?);
        }
        Ok(Self {
            jobs: Some(jobs),
            workers,
            image: options.image.clone(),
            load: options.load,
            inspect: options.inspect,
            batch_rows,
            devices,
            counters,
        })
    }

    /// Where the network runs: the CPU, or one GPU or several.
    pub fn devices(&self) -> &[tch::Device] {
        &self.devices
    }

    /// Rows that record batches of `dataset` should have: enough to keep a worker busy, few enough that all record
    /// batches in flight stay within 256 MiB where rows are large.
    pub fn chunk_rows(&self, dataset: &Dataset) -> usize {
        dataset.rows_within(self.chunk_bytes(), self.most_chunk_rows())
    }

    /// Most rows of a record batch that keep a worker busy; more make it wait for nothing.
    pub fn most_chunk_rows(&self) -> usize {
        self.batch_rows.saturating_mul(PASSES_PER_BATCH).max(LEAST_CHUNK_ROWS)
    }

    /// Bytes that a record batch should not exceed, so that all record batches in flight stay within 256 MiB.
    pub fn chunk_bytes(&self) -> u64 {
        IN_FLIGHT_BYTES / self.chunks_in_flight() as u64
    }

    /// Record batches in flight that keep all workers busy.
    pub fn chunks_in_flight(&self) -> usize {
        self.worker_threads() * IN_FLIGHT_PER_WORKER
    }

    /// How images are loaded.
    pub fn load_options(&self) -> LoadOptions {
        self.load
    }

    /// Whether images are inspected as well.
    pub fn inspects(&self) -> bool {
        self.inspect
    }

    /// What was done since the stage was made, over all streams.
    pub fn work(&self) -> Work {
        self.counters.read()
    }

    /// The image column that the stage reads from record batches of this dataset.
    ///
    /// # Errors
    /// As [`Dataset::image_column`], and for a column of paths that the stage's options do not allow to be read: every row
    /// would fail.
    pub fn image_column(&self, dataset: &Dataset) -> Result<ImageColumn> {
        let column = dataset.image_column(self.image.as_deref())?;
        self.load.require_paths(&column)?;
        Ok(column)
    }

    /// Scores record batches as they come. The iterator yields each with its scores, in order, and reads ahead only as
    /// far as the workers need; dropping it stops reading.
    pub fn score<I>(&self, column: ImageColumn, chunks: I) -> ScoreStream<'_, I::IntoIter>
    where
        I: IntoIterator<Item = Result<Chunk>>,
    {
        let limit = self.chunks_in_flight();
        ScoreStream {
            stage: self,
            column,
            chunks: chunks.into_iter(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            limit,
            input: InputState::More,
            alive: Arc::new(()),
        }
    }

    fn worker_threads(&self) -> usize {
        self.workers.len().max(1)
    }

    /// Hands a record batch to the workers and returns at once. `answer` is called with its scores, on a worker's thread, so
    /// it must not block; it is dropped uncalled where `stream` is gone before a worker takes the record batch.
    ///
    /// `file` is what relative image paths are resolved against. The caller bounds what it has in flight
    /// ([`Stage::chunks_in_flight`], [`Stage::chunk_bytes`]): nothing here waits.
    ///
    /// # Errors
    /// [`Error::Internal`] where no worker is left.
    pub fn submit(
        &self,
        column: &ImageColumn,
        record_batch: RecordBatch,
        file: Arc<str>,
        stream: Weak<()>,
        answer: impl FnOnce(Result<Scored>) + Send + 'static,
    ) -> Result<()> {
        let job = Job { record_batch, column: column.clone(), file, stream, answer: Box::new(answer) };
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(ended()) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Without a sender the workers' loops end, and with them the device's.
        self.jobs = None;
        for worker in self.workers.drain(..).rev() {
            // A worker that panicked has already failed its stream.
            let _ = worker.join();
        }
    }
}

/// Iterator over scored record batches; see [`Stage::score`].
#[derive(Debug)]
pub struct ScoreStream<'a, I> {
    stage: &'a Stage,
    column: ImageColumn,
    chunks: I,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: u64,
    limit: usize,
    input: InputState,
    /// Workers pass over what is still queued once this is gone.
    alive: Arc<()>,
}

/// What is left of a stream's input.
#[derive(Debug)]
enum InputState {
    More,
    /// It failed: said after the rows that came before.
    Failed(Error),
    Ended,
}

#[derive(Debug)]
struct InFlight {
    chunk: Chunk,
    bytes: u64,
    answer: Receiver<Result<Scored>>,
}

impl<I: Iterator<Item = Result<Chunk>>> ScoreStream<'_, I> {
    fn advance(&mut self) -> Result<Option<(Chunk, Scored)>> {
        // Once the input failed, the worker threads finish what came before.
        while matches!(self.input, InputState::More)
            && self.in_flight.len() < self.limit
            && self.in_flight_bytes <= IN_FLIGHT_BYTES
        {
            match self.chunks.next() {
                Some(Ok(chunk)) => {
                    let bytes = chunk.record_batch.columns().iter().map(used_bytes).sum::<usize>() as u64;
                    let (sender, answer) = bounded(1);
                    let (record_batch, file) = (chunk.record_batch.clone(), Arc::clone(&chunk.file));
                    // The stream may be dropped while its rows are scored.
                    let send = move |scored| drop(sender.send(scored));
                    self.stage.submit(&self.column, record_batch, file, Arc::downgrade(&self.alive), send)?;
                    self.in_flight_bytes += bytes;
                    self.in_flight.push_back(InFlight { chunk, bytes, answer });
                }
                Some(Err(error)) => self.input = InputState::Failed(error),
                None => self.input = InputState::Ended,
            }
        }
        let Some(InFlight { chunk, bytes, answer }) = self.in_flight.pop_front() else {
            return match mem::replace(&mut self.input, InputState::Ended) {
                InputState::Failed(error) => Err(error),
                _ => Ok(None),
            };
        };
        self.in_flight_bytes -= bytes;
        let scored = answer.recv().map_err(|_| ended())??;
        Ok(Some((chunk, scored)))
    }
}

impl<I: Iterator<Item = Result<Chunk>>> Iterator for ScoreStream<'_, I> {
    /// The input rows and their scores.
    type Item = Result<(Chunk, Scored)>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            // The first error ends the stream.
            self.input = InputState::Ended;
            self.in_flight.clear();
        }
        next.transpose()
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(body).map_err(|error| Error::io(name, error))
}

fn ended() -> Error {
    Error::Internal("a scoring worker ended unexpectedly".into())
}
