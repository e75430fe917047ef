//! Datasets that workers score and this process reads: for outputs that are one file, filters and audits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::BooleanArray;
use dismax::cancel::Cancel;
use dismax::dataset::{BatchSize, Chunk, Dataset, InputColumn, LoadOptions, PortableDataset};
use dismax::model::Model;
use dismax::stage::{PortableObserver, ScannedChunk, Scanner, Scored};
use dismax::{Error as CoreError, Result as CoreResult, RowError};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::cluster::{Cluster, or_cancelled};
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::work::{Answer, Needed, Scan, ScanRows, Work};

/// Fewest pieces of a dataset for each worker. Few cost less; many let workers of unlike speed end together.
const PIECES: usize = 8;
/// Most rows of a piece, about: so many scores may wait for their turn.
const PIECE_ROWS: u64 = 16_384;
/// Pieces that may be ahead of the rows that are read here, for each worker.
const AHEAD: usize = 3;
/// Rows and bytes of the record batches that are read here.
const READ: BatchSize = BatchSize { rows: 1024, bytes: 8 << 20 };

/// A scanner whose images are decoded and scored by workers. They read the dataset as well, so it must lie where they
/// reach it under the same name. Logits, and what an observer keeps, cross the network.
#[derive(Debug)]
pub struct RemoteScanner {
    cluster: Arc<Cluster>,
    runtime: Handle,
    needed: Needed,
    model: Arc<Model>,
    load: LoadOptions,
}

impl RemoteScanner {
    /// Has the workers of a cluster load the model.
    ///
    /// # Errors
    /// [`Error::NoWorkers`]; [`dismax::Error::Cancelled`].
    pub fn try_new(
        cluster: Arc<Cluster>,
        runtime: Handle,
        (name, model): (&str, Arc<Model>),
        (column, load): (Option<String>, LoadOptions),
        cancel: &Cancel,
    ) -> Result<Self> {
        let (digest, max_pixels) = (model.digest().to_owned(), Some(load.limits.max_pixels));
        let needed = Needed { name: name.into(), digest, column, max_pixels };
        runtime.block_on(or_cancelled(cancel, cluster.prepare(std::slice::from_ref(&needed))))?;
        Ok(Self { cluster, runtime, needed, model, load })
    }

    /// Starts the workers on a dataset. Its rows come in order, piece by piece.
    fn start(&self, dataset: &Dataset, observer: &str, cancel: &Cancel) -> Result<Incoming> {
        let count = self.cluster.workers().present()?.len();
        let by_rows = usize::try_from(dataset.rows().unwrap_or(0) / PIECE_ROWS).unwrap_or(usize::MAX);
        let pieces = dataset.divided((count * PIECES).max(by_rows)).into_iter();
        let pieces = pieces.filter(|piece| piece.files().next().is_some());
        // As they are now: what changes from here on is refused.
        let pieces = pieces.map(|piece| Ok((piece.to_portable()?, piece.rows())));
        let pieces = pieces.collect::<CoreResult<Vec<_>>>()?;
        let (send, receive) = unbounded_channel();
        let taken = Arc::new(AtomicUsize::new(0));
        let mut job = ScanJob {
            model: self.needed.digest.clone(),
            column: self.needed.column.clone(),
            max_pixels: self.load.limits.max_pixels,
            observer: observer.into(),
            pieces,
            waiting: BTreeMap::new(),
            next: 0,
            window: count * AHEAD,
            taken: Arc::clone(&taken),
            send: send.clone(),
            cancel: cancel.clone(),
        };
        let (cluster, needed) = (Arc::clone(&self.cluster), self.needed.clone());
        self.runtime.spawn(async move {
            let count = job.pieces.len();
            if let Err(error) = jobs::carry_out(&cluster, &needed, count, &mut job).await {
                // The reader may have ended first.
                let _ = send.send(Err(error));
            }
        });
        Ok(Incoming { receive, taken, piece: Vec::new(), rows: ScanRows::default(), at: 0 })
    }
}

/// The pieces of a dataset while workers score them.
struct ScanJob {
    model: String,
    column: Option<String>,
    max_pixels: u64,
    observer: String,
    /// With their rows, where these are known.
    pieces: Vec<(PortableDataset, Option<u64>)>,
    /// Rows of pieces that have not been sent on, and whether they are whole.
    waiting: BTreeMap<usize, (Vec<ScanRows>, bool)>,
    /// The piece that is sent on next.
    next: usize,
    window: usize,
    /// Pieces that the reader has begun.
    taken: Arc<AtomicUsize>,
    send: UnboundedSender<Result<Vec<ScanRows>>>,
    cancel: Cancel,
}

impl Job for ScanJob {
    fn work(&self, piece: usize) -> Result<Work> {
        Ok(Work::Scan(Box::new(Scan {
            model: self.model.clone(),
            dataset: self.pieces[piece].0.clone(),
            column: self.column.clone(),
            max_pixels: self.max_pixels,
            observer: self.observer.clone(),
        })))
    }

    fn name(&self, piece: usize) -> String {
        format!("piece {} of {}", piece + 1, self.pieces.len())
    }

    fn may_begin(&self, piece: usize) -> bool {
        piece < self.taken.load(Ordering::Relaxed) + self.window
    }

    fn take(&mut self, piece: usize, answer: Answer) {
        if let Answer::Scan(rows) = answer {
            self.waiting.entry(piece).or_default().0.push(rows);
        }
    }

    fn forget(&mut self, piece: usize) {
        self.waiting.remove(&piece);
    }

    fn done(&mut self, piece: usize) -> Result<()> {
        let (rows, whole) = self.waiting.entry(piece).or_default();
        let found = rows.iter().map(|rows| rows.errors.len() as u64).sum::<u64>();
        if self.pieces[piece].1.is_some_and(|known| known != found) {
            return Err(changed(&self.name(piece)).into());
        }
        *whole = true;
        while self.waiting.first_key_value().is_some_and(|(piece, (_, whole))| *piece == self.next && *whole) {
            let rows = self.waiting.pop_first().map(|(_, (rows, _))| rows).unwrap_or_default();
            self.next += 1;
            // A reader that is gone is noticed at the next tick.
            let _ = self.send.send(Ok(rows));
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        match self.send.is_closed() {
            true => Err(CoreError::Cancelled.into()),
            false => Ok(self.cancel.check()?),
        }
    }
}

/// Scores as they come, row by row.
struct Incoming {
    receive: UnboundedReceiver<Result<Vec<ScanRows>>>,
    taken: Arc<AtomicUsize>,
    /// Of the piece that is read, in reverse.
    piece: Vec<ScanRows>,
    /// Of the record batch that is read.
    rows: ScanRows,
    at: usize,
}

impl Incoming {
    /// The next row's position in `rows`.
    fn next(&mut self) -> Result<Option<usize>> {
        while self.at >= self.rows.errors.len() {
            self.at = 0;
            self.rows = match self.piece.pop() {
                Some(rows) => rows,
                None => match self.receive.blocking_recv() {
                    Some(piece) => {
                        self.piece = piece?;
                        self.piece.reverse();
                        self.taken.fetch_add(1, Ordering::Relaxed);
                        ScanRows::default()
                    }
                    None => return Ok(None),
                },
            };
        }
        self.at += 1;
        Ok(Some(self.at - 1))
    }

    /// The scores of a chunk's rows, of those that are wanted. `width` is the numbers of each.
    fn scored<O: PortableObserver>(
        &mut self,
        model: &Arc<Model>,
        width: usize,
        chunk: &Chunk,
        wanted: Option<&BooleanArray>,
    ) -> Result<Scored<O::Value>> {
        let changed = || changed(&chunk.file);
        let (mut rows, mut values, mut observed) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..chunk.record_batch.num_rows() {
            let at = self.next()?.ok_or_else(changed)?;
            if wanted.is_some_and(|wanted| !wanted.value(row)) {
                continue;
            }
            let error = self.rows.errors[at].take();
            rows.push(error.map_or(Ok(()), |(code, detail)| Err(RowError { code, detail })));
            values.extend(self.rows.values.get(at * width..(at + 1) * width).ok_or_else(changed)?);
            let bytes = self.rows.observed.get(at).ok_or_else(changed)?;
            let value = postcard::from_bytes(bytes);
            observed.push(value.map_err(|error| Error::Config(format!("an answer was altered: {error}")))?);
        }
        Ok(Scored::of_parts(Arc::clone(model), rows, values, observed)?)
    }
}

fn changed(what: &str) -> CoreError {
    CoreError::data(what, "changed while it was scored; run again")
}

impl Scanner for RemoteScanner {
    fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn input_column(&self, dataset: &Dataset) -> CoreResult<InputColumn> {
        self.model.input_column(dataset, self.needed.column.as_deref(), &self.load)
    }

    fn gpus_busy(&self) -> (usize, Duration) {
        (0, Duration::ZERO)
    }

    fn chunks(&self, dataset: &Dataset) -> CoreResult<impl Iterator<Item = CoreResult<Chunk>>> {
        dataset.read(READ, None)
    }

    fn scan_wanted<O: PortableObserver>(
        &self,
        dataset: &Dataset,
        columns: Option<&[usize]>,
        cancel: Cancel,
        observer: Arc<O>,
        mut wanted: impl FnMut(&Chunk) -> CoreResult<Option<BooleanArray>>,
    ) -> CoreResult<impl Iterator<Item = CoreResult<ScannedChunk<O::Value>>>> {
        let input = self.input_column(dataset)?;
        let columns = columns.map(|others| others.iter().copied().chain([input.index()]).collect::<Vec<_>>());
        let chunks = dataset.read(READ, columns.as_deref())?;
        let mut incoming = self.start(dataset, O::NAME, &cancel)?;
        let width = self.model.values_width(observer.wants_features() || self.model.needs_features());
        let mut scored = move |chunk: Chunk, incoming: &mut Incoming| {
            let rows = wanted(&chunk)?;
            let scored = incoming.scored::<O>(&self.model, width, &chunk, rows.as_ref())?;
            cancel.check()?;
            Ok((chunk, rows, scored))
        };
        let last = dataset.files().last().unwrap_or_default().to_owned();
        let scored = chunks.map(Some).chain([None]).filter_map(move |chunk| match chunk {
            Some(chunk) => Some(chunk.and_then(|chunk| scored(chunk, &mut incoming))),
            // Behind the last row here there is none at the workers.
            None => match incoming.next() {
                Ok(None) => None,
                Ok(Some(_)) => Some(Err(changed(&last))),
                Err(error) => Some(Err(error.into())),
            },
        });
        let mut ended = false;
        // Nothing comes after an error.
        Ok(scored.take_while(move |scored| {
            let begun = !ended;
            ended = scored.is_err();
            begun
        }))
    }
}
