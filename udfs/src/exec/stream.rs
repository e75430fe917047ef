//! One partition's record batches through the stage.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_expr::PhysicalExpr;
use dismax::dataset::{ImageColumn, ImageDigest, used_bytes};
use dismax::stage::Scored;
use futures::{Stream, StreamExt};

use super::answer::{Sender, Wanted};
use super::metrics::{Batch, ScoreMetrics};
use super::shared::{Claim, Own, Share};
use crate::chunks::ImageSlices;
use crate::models::{ScoringModel, external};
use crate::output::Output;

/// Record batches that each partition may have in flight, however many partitions there are: one at the workers, one to
/// come.
const MIN_IN_FLIGHT: usize = 2;

/// What a node computes: from which column of its input, by which model, and which columns it appends.
pub(super) struct Scoring {
    pub image: Arc<dyn PhysicalExpr>,
    pub image_field: FieldRef,
    pub image_column: ImageColumn,
    pub model: Arc<ScoringModel>,
    /// With the names of their columns.
    pub outputs: Vec<(Output, String)>,
    /// With other nodes of the plan that read the same images.
    pub share: Option<Share>,
    /// The input's columns, then the appended ones.
    pub schema: SchemaRef,
}

/// Hands record batches to the workers, a bounded number at a time, and yields them with their outputs, in order.
/// Dropping it makes the workers pass over what it still has in the queue.
pub(super) struct PartitionStream {
    scoring: Scoring,
    input: SendableRecordBatchStream,
    /// What is left of the input's last record batch.
    current: Option<CurrentBatch>,
    in_flight: VecDeque<ChunkInFlight>,
    in_flight_bytes: u64,
    most_in_flight: usize,
    most_bytes: u64,
    ended: bool,
    metrics: ScoreMetrics,
}

/// A record batch of the input while it is cut into chunks.
struct CurrentBatch {
    rows: RecordBatch,
    images: ImageSlices,
    start: usize,
}

/// A chunk at the workers.
struct ChunkInFlight {
    rows: RecordBatch,
    bytes: u64,
    /// Of the chunk itself and, where scores are shared, of others that have some of its images.
    answers: Vec<Wanted>,
    /// For each row which answer has its scores, and in which row; none where that is the only answer, row by row.
    places: Option<Vec<(usize, usize)>>,
    /// What was sent to the workers for it.
    sent: Option<Sent>,
}

/// Images that a chunk sent to the workers.
struct Sent {
    images: usize,
    answer: usize,
}

impl PartitionStream {
    /// One of `partitions` streams, each of which may have its share of what the stage takes in flight.
    pub fn new(scoring: Scoring, partitions: usize, input: SendableRecordBatchStream, metrics: ScoreMetrics) -> Self {
        let stage = &scoring.model.stage;
        let most_in_flight = stage.items_in_flight().div_ceil(partitions.max(1)).max(MIN_IN_FLIGHT);
        Self {
            input,
            current: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            most_in_flight,
            most_bytes: stage.max_chunk_bytes() as u64 * most_in_flight as u64,
            ended: false,
            metrics,
            scoring,
        }
    }

    /// Sends chunks to the workers until they have enough or the input has none yet. Says whether the input must be
    /// waited for.
    fn fill(&mut self, context: &mut Context<'_>) -> Result<bool> {
        while self.in_flight.len() < self.most_in_flight && self.in_flight_bytes < self.most_bytes {
            if self.submit_next()? {
                continue;
            }
            if self.ended {
                return Ok(false);
            }
            match self.input.poll_next_unpin(context) {
                Poll::Ready(Some(batch)) => self.current = Some(self.cut(batch?)?),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => return Ok(true),
            }
        }
        Ok(false)
    }

    fn cut(&self, rows: RecordBatch) -> Result<CurrentBatch> {
        let images = self.scoring.image.evaluate(&rows)?.into_array(rows.num_rows())?;
        let images = ImageSlices::try_new(&self.scoring.model.stage, &images, &self.scoring.image_field)?;
        Ok(CurrentBatch { rows, images, start: 0 })
    }

    /// Sends the next chunk of the current record batch; false where there is none.
    fn submit_next(&mut self) -> Result<bool> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let Some(images) = current.images.next() else {
            self.current = None;
            return Ok(false);
        };
        let rows = current.rows.slice(current.start, images.len());
        current.start += images.len();
        let bytes = used_bytes(&images) as u64;
        let chunk = match &self.scoring.share {
            Some(share) => self.submit_shared(share, rows, bytes, images)?,
            None => {
                let sent = Some(Sent { images: images.len(), answer: 0 });
                let (sender, answer) = Wanted::new();
                self.submit(&images, &answer, sender)?;
                ChunkInFlight { rows, bytes, answers: vec![answer], places: None, sent }
            }
        };
        self.metrics.begin();
        self.in_flight_bytes += bytes;
        self.in_flight.push_back(chunk);
        Ok(true)
    }

    /// Sends those images that no other node of the plan sends.
    fn submit_shared(&self, share: &Share, rows: RecordBatch, bytes: u64, images: ArrayRef) -> Result<ChunkInFlight> {
        let all = images.len();
        let values = self.scoring.image_column.images_of(&images).map_err(external)?;
        let digests: Vec<ImageDigest> = (0..all).map(|row| values.digest(row)).collect();
        let Claim { answers, places, own } = share.claim(&digests, self.scoring.model.columns.classes());
        let Some(Own { rows: missing, answer, sender }) = own else {
            return Ok(ChunkInFlight { rows, bytes, answers, places: Some(places), sent: None });
        };
        let sent = Some(Sent { images: missing.len(), answer });
        let is_whole = missing.len() == all;
        let images = if is_whole { images } else { take(&images, &UInt64Array::from(missing), None)? };
        self.submit(&images, &answers[answer], sender)?;
        Ok(ChunkInFlight { rows, bytes, answers, places: (!is_whole).then_some(places), sent })
    }

    fn submit(&self, images: &ArrayRef, answer: &Wanted, sender: Sender) -> Result<()> {
        let images = self.scoring.image_column.images_of(images).map_err(external)?;
        // The stream may be dropped while its rows are scored.
        let send = move |scored: dismax::Result<Scored>| sender.send(scored.map_err(external));
        self.scoring.model.stage.submit(images, answer.token(), send).map_err(external)
    }

    fn finish(&self, chunk: ChunkInFlight, answers: &[Arc<Scored>]) -> Result<RecordBatch> {
        let columns = &self.scoring.model.columns;
        let gathered;
        let scored = match &chunk.places {
            None => &*answers[0],
            Some(places) => {
                gathered = Scored::gather(
                    self.scoring.model.stage.model(),
                    places.iter().map(|(answer, row)| (&*answers[*answer], *row)),
                );
                &gathered
            }
        };
        let scored = columns.build(scored).map_err(external)?;
        let (images, timing) =
            chunk.sent.map_or_else(Default::default, |sent| (sent.images, answers[sent.answer].timing()));
        self.metrics.add(Batch { images, shared: chunk.rows.num_rows() - images, errors: scored.failed.len(), timing });
        let mut arrays = chunk.rows.columns().to_vec();
        for (output, _) in &self.scoring.outputs {
            arrays.push(output.array(columns, &scored)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.scoring.schema), arrays)?)
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        let waits_for_input = self.fill(context)?;
        let Some(first) = self.in_flight.front() else {
            return if waits_for_input { Poll::Pending } else { Poll::Ready(None) };
        };
        let mut answers = Vec::with_capacity(first.answers.len());
        for answer in &first.answers {
            answers.push(ready!(answer.poll(context))?);
        }
        let Some(chunk) = self.in_flight.pop_front() else { return Poll::Ready(None) };
        self.in_flight_bytes -= chunk.bytes;
        Poll::Ready(Some(self.finish(chunk, &answers)))
    }
}

impl Stream for PartitionStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let poll = self.advance(context);
        if let Poll::Ready(Some(Err(_))) = &poll {
            // The first error ends the stream.
            self.ended = true;
            self.current = None;
            self.in_flight.clear();
        }
        self.metrics.baseline.record_poll(poll)
    }
}

impl RecordBatchStream for PartitionStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.scoring.schema)
    }
}
