//! Decoding and scoring on one thread.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use crossbeam::sync::WaitGroup;

use super::item::ItemScores;
use super::observer::{Observed, ObservedEmbedding, Observer};
use super::scored::{Scored, Timing, Values};
use super::slots::Slots;
use super::stats::StatsCounters;
use crate::dataset::{Embeddings, Images, InputRows, LoadOptions, OpenedImage};
use crate::embedding::{EmbeddingScorer, to_unit_length};
use crate::error::{Error, Result, RowError, RowErrorCode};
use crate::image::{Preprocessing, ReusableResizer};
use crate::model::Model;
use crate::network::Scorer;

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
    /// The slots that go to the GPUs.
    Devices(Arc<Slots>),
    /// A head on embeddings.
    Embeddings(EmbeddingScorer),
}

/// Decodes and scores the images of one item at a time.
#[derive(Debug)]
pub(super) struct Worker {
    pub engine: Engine,
    pub decoder: Decoder,
}

/// The part of a worker that is the same for all engines.
#[derive(Debug)]
pub(super) struct Decoder {
    pub model: Arc<Model>,
    pub batch_rows: usize,
    pub load: LoadOptions,
    pub counters: Arc<StatsCounters>,
    pub resizer: ReusableResizer,
}

impl Worker {
    /// Works until the stage is dropped. A panic ends its stream, not the worker: the pool keeps its size.
    ///
    /// `started` is dropped once libtorch computes on this thread alone.
    pub fn run(mut self, jobs: &Receiver<Job>, started: WaitGroup) {
        // One libtorch thread for each worker: a worker per core beats operators that split themselves over the cores.
        // Asked first, libtorch does not take up the process's setting later.
        tch::get_num_threads();
        tch::set_num_threads(1);
        drop(started);
        for job in jobs.iter().filter(|job| job.stream.strong_count() > 0) {
            // The answer is dropped with the panic, which its stream sees as an error.
            if catch_unwind(AssertUnwindSafe(|| (job.work)(&mut self))).is_err() {
                self.decoder.resizer = ReusableResizer::default();
            }
        }
    }

    /// Calls `answer` with the logits of all rows: at once where they are computed here, else when they come back
    /// from the device.
    pub fn score<O: Observer>(
        &mut self,
        rows: &InputRows,
        observer: &O,
        answer: impl FnOnce(Result<Scored<O::Value>>) + Send + 'static,
    ) {
        let Self { engine, decoder } = self;
        match (engine, rows) {
            (Engine::Local(scorer), InputRows::Images(images)) => {
                answer(decoder.score_here(scorer, images, observer));
            }
            (Engine::Devices(slots), InputRows::Images(images)) => {
                decoder.score_on_devices(slots, images, observer, answer);
            }
            (Engine::Embeddings(scorer), InputRows::Embeddings(embeddings)) => {
                answer(Ok(decoder.score_embeddings(scorer, embeddings, observer)));
            }
            (Engine::Embeddings(_), InputRows::Images(_)) => {
                answer(Err(Error::Config("the model scores embeddings, and was given images".into())));
            }
            (_, InputRows::Embeddings(_)) => {
                answer(Err(Error::Config("the model scores images, and was given embeddings".into())));
            }
        }
    }
}

impl Decoder {
    /// Logits of all images, and their features where they are wanted, in passes of at most `batch_rows`.
    fn score_here<O: Observer>(&mut self, scorer: &Scorer, images: &Images, observer: &O) -> Result<Scored<O::Value>> {
        let count = images.len();
        let with_features = observer.wants_features() || self.model.needs_features();
        let width = self.model.values_width(with_features);
        let image_bytes = scorer.image_bytes();
        let mut rows: Vec<Result<(), RowError>> = Vec::with_capacity(count);
        let mut numbers = vec![0.0f32; count * width];
        let mut observed = Vec::with_capacity(count);
        let mut timing = Timing::default();
        while rows.len() < count {
            let (start, end) = (rows.len(), (rows.len() + self.batch_rows).min(count));
            let clock = Instant::now();
            let (mut pixels, mut filled) = (vec![0; (end - start) * image_bytes], 0);
            for row in start..end {
                let (outcome, value) = self.prepare(images, row, observer, &mut pixels[filled..][..image_bytes]);
                filled += if outcome.is_ok() { image_bytes } else { 0 };
                rows.push(outcome);
                observed.push(value);
            }
            timing.decode += clock.elapsed();
            self.counters.decoded(end - start);
            if filled == 0 {
                continue;
            }
            let clock = Instant::now();
            let values = scorer.values(&pixels[..filled], with_features)?;
            timing.network += clock.elapsed();
            self.counters.passed(values.len() / width);
            let scored_rows = (start..end).filter(|row| rows[*row].is_ok());
            for (values, row) in values.chunks_exact(width).zip(scored_rows) {
                numbers[row * width..(row + 1) * width].copy_from_slice(values);
            }
        }
        self.counters.done(&rows, timing);
        Ok(Scored::new(Arc::clone(&self.model), rows, Values { width, numbers }, observed, timing))
    }

    /// Logits of all embeddings, and these themselves as features where they are wanted, in passes of at most
    /// `batch_rows`.
    fn score_embeddings<O: Observer>(
        &mut self,
        scorer: &EmbeddingScorer,
        embeddings: &Embeddings,
        observer: &O,
    ) -> Scored<O::Value> {
        let (count, dimensions) = (embeddings.len(), scorer.space().dimensions());
        let with_features = observer.wants_features() || self.model.needs_features();
        let (width, classes) = (self.model.values_width(with_features), self.model.classes().len());
        let mut rows: Vec<Result<(), RowError>> = Vec::with_capacity(count);
        let (mut numbers, mut observed) = (Vec::with_capacity(count * width), Vec::with_capacity(count));
        let mut timing = Timing::default();
        let mut values = Vec::new();
        while rows.len() < count {
            let (start, end) = (rows.len(), (rows.len() + self.batch_rows).min(count));
            let clock = Instant::now();
            rows.extend(embeddings.read(start..end, dimensions, &mut values));
            for (outcome, values) in rows[start..].iter_mut().zip(values.chunks_exact_mut(dimensions)) {
                let seen = outcome.as_ref().map(|()| &*values);
                observed.push(observer.observe_embedding(&ObservedEmbedding { values: seen }));
                if outcome.is_ok() && !to_unit_length(values) {
                    *outcome = Err(RowError::new(RowErrorCode::ZeroEmbedding, ""));
                }
            }
            timing.decode += clock.elapsed();
            self.counters.decoded(end - start);
            let clock = Instant::now();
            let logits = scorer.logits(&values);
            for (logits, values) in logits.chunks_exact(classes).zip(values.chunks_exact(dimensions)) {
                numbers.extend_from_slice(logits);
                if with_features {
                    numbers.extend_from_slice(values);
                }
            }
            timing.network += clock.elapsed();
            self.counters.passed(rows[start..].iter().filter(|row| row.is_ok()).count());
        }
        self.counters.done(&rows, timing);
        Scored::new(Arc::clone(&self.model), rows, Values { width, numbers }, observed, timing)
    }

    /// Decodes all images into slots. It waits for room there, not for logits.
    fn score_on_devices<O: Observer>(
        &mut self,
        slots: &Slots,
        images: &Images,
        observer: &O,
        answer: impl FnOnce(Result<Scored<O::Value>>) + Send + 'static,
    ) {
        let count = images.len();
        // Devices give features always: theirs cost less than passes of two kinds would.
        let width = self.model.values_width(true);
        let item = Arc::new(ItemScores::new(count, width));
        let (mut rows, mut observed) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (clock, image_bytes) = (Instant::now(), preprocessing_of(&self.model).image_bytes());
        let mut pixels = vec![0; slots.part_rows().min(count) * image_bytes];
        let (mut kept, mut waited) = (Vec::new(), Duration::ZERO);
        for row in 0..count {
            let (outcome, value) =
                self.prepare(images, row, observer, &mut pixels[kept.len() * image_bytes..][..image_bytes]);
            kept.extend(outcome.is_ok().then_some(row));
            rows.push(outcome);
            observed.push(value);
            let is_due = kept.len() == slots.part_rows() || row + 1 == count;
            if is_due && !kept.is_empty() {
                let (filled, begun) = (kept.len() * image_bytes, Instant::now());
                if !slots.put(&pixels[..filled], std::mem::take(&mut kept), &item) {
                    return answer(Err(Error::Internal("the device's thread ended unexpectedly".into())));
                }
                waited += begun.elapsed();
            }
        }
        self.counters.decoded(count);
        let (decode, decoded, model) = (clock.elapsed() - waited, Instant::now(), Arc::clone(&self.model));
        let scored = rows.iter().filter(|row| row.is_ok()).count();
        let counters = Arc::clone(&self.counters);
        item.answer(scored, move |numbers| {
            let timing = Timing { decode, network: waited + decoded.elapsed() };
            counters.done(&rows, timing);
            answer(numbers.map(|numbers| Scored::new(model, rows, Values { width, numbers }, observed, timing)));
        });
    }

    /// Writes the row's preprocessed image to `out`, unless it fails.
    fn prepare<O: Observer>(
        &mut self,
        images: &Images,
        row: usize,
        observer: &O,
        out: &mut [u8],
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
        let preprocessing = preprocessing_of(&self.model);
        (decoded.and_then(|image| preprocessing.apply_into(&image, &mut self.resizer, out)), value)
    }
}

fn preprocessing_of(model: &Model) -> &Preprocessing {
    &model.input().images().expect("networks are given images").preprocessing
}
