//! One partition's record batches through the stage.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_expr::PhysicalExpr;
use dismax::dataset::{InputColumn, used_bytes};
use futures::{Stream, StreamExt};

use super::metrics::{Batch, ScoreMetrics};
use crate::chunks::ImageSlices;
use crate::models::{ScoringModel, external};
use crate::output::Output;
use crate::scoring::{Answered, Request};

/// Record batches that each partition may have in flight, however many partitions there are: one at the workers, one to
/// come.
const MIN_IN_FLIGHT: usize = 2;

/// What a node computes: from which column of its input, by which model, and which columns it appends.
pub(super) struct Scoring {
    pub image: Arc<dyn PhysicalExpr>,
    pub image_field: FieldRef,
    pub input_column: InputColumn,
    pub model: Arc<ScoringModel>,
    /// With the names of their columns.
    pub outputs: Vec<(Output, String)>,
    /// Whether pooled features are asked for.
    pub with_features: bool,
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
    request: Request,
}

impl PartitionStream {
    /// One of `partitions` streams, each of which may have its share of what the stage takes in flight.
    pub fn try_new(
        scoring: Scoring,
        partitions: usize,
        input: SendableRecordBatchStream,
        metrics: ScoreMetrics,
    ) -> Result<Self> {
        let stage = &scoring.model.working()?.stage;
        let most_in_flight = stage.items_in_flight().div_ceil(partitions.max(1)).max(MIN_IN_FLIGHT);
        Ok(Self {
            input,
            current: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            most_in_flight,
            most_bytes: stage.max_chunk_bytes() as u64 * most_in_flight as u64,
            ended: false,
            metrics,
            scoring,
        })
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
        let images = ImageSlices::try_new(&self.scoring.model.working()?.stage, &images, &self.scoring.image_field)?;
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
        let request =
            Request::send(&self.scoring.model, &self.scoring.input_column, &images, self.scoring.with_features)?;
        self.metrics.begin();
        self.in_flight_bytes += bytes;
        self.in_flight.push_back(ChunkInFlight { rows, bytes, request });
        Ok(true)
    }

    fn finish(&self, rows: &RecordBatch, answered: &Answered) -> Result<RecordBatch> {
        let columns = &self.scoring.model.columns;
        let scored = columns.build(&answered.scored).map_err(external)?;
        let images = answered.sent;
        let timing = answered.timing;
        self.metrics.add(Batch { images, shared: rows.num_rows() - images, errors: scored.failed.len(), timing });
        let mut arrays = rows.columns().to_vec();
        for (output, _) in &self.scoring.outputs {
            arrays.push(output.array(columns, &answered.scored, &scored)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.scoring.schema), arrays)?)
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        let waits_for_input = self.fill(context)?;
        let Some(first) = self.in_flight.front() else {
            return if waits_for_input { Poll::Pending } else { Poll::Ready(None) };
        };
        let answered = ready!(first.request.poll(&self.scoring.model, context))?;
        let Some(chunk) = self.in_flight.pop_front() else { return Poll::Ready(None) };
        self.in_flight_bytes -= chunk.bytes;
        Poll::Ready(Some(self.finish(&chunk.rows, &answered)))
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
