//! One partition's record batches through the stage.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use dismax::dataset::used_bytes;
use dismax::stage::Scored;
use futures::channel::oneshot;
use futures::{FutureExt, Stream, StreamExt};

use super::ScoreExec;
use super::metrics::ScoreMetrics;
use crate::chunks::Chunks;
use crate::models::external;

/// Record batches that each partition may have in flight, however many partitions there are: one at the workers, one to come.
const LEAST_IN_FLIGHT: usize = 2;

/// Hands record batches to the workers, a bounded number at a time, and yields them with their outputs, in order. Dropping it
/// makes the workers pass over what it still has in the queue.
pub(super) struct ScoreStream {
    exec: ScoreExec,
    input: SendableRecordBatchStream,
    /// What is left of the input's last record batch.
    current: Option<Current>,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: u64,
    most_in_flight: usize,
    most_bytes: u64,
    ended: bool,
    alive: Arc<()>,
    metrics: ScoreMetrics,
}

/// A record batch of the input while it is cut into chunks.
struct Current {
    rows: RecordBatch,
    images: Chunks,
    start: usize,
}

/// A chunk at the workers.
struct InFlight {
    rows: RecordBatch,
    bytes: u64,
    scored: oneshot::Receiver<dismax::Result<Scored>>,
}

impl ScoreStream {
    pub fn new(exec: &ScoreExec, partition: usize, input: SendableRecordBatchStream) -> Self {
        let stage = &exec.model.stage;
        let partitions = exec.output_partitioning_count();
        let most_in_flight = stage.chunks_in_flight().div_ceil(partitions).max(LEAST_IN_FLIGHT);
        Self {
            exec: exec.clone(),
            input,
            current: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            most_in_flight,
            most_bytes: stage.chunk_bytes() * most_in_flight as u64,
            ended: false,
            alive: Arc::new(()),
            metrics: ScoreMetrics::new(&exec.metrics, partition),
        }
    }

    /// Sends chunks to the workers until they have enough or the input has none yet. Says whether the input must be waited for.
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

    fn cut(&self, rows: RecordBatch) -> Result<Current> {
        let images = self.exec.image.evaluate(&rows)?.into_array(rows.num_rows())?;
        let images = Chunks::of(&self.exec.model.stage, &images, &self.exec.image_field)?;
        Ok(Current { rows, images, start: 0 })
    }

    /// Sends the next chunk of the current record batch; false where there is none.
    fn submit_next(&mut self) -> Result<bool> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let Some(images) = current.images.next()? else {
            self.current = None;
            return Ok(false);
        };
        let rows = current.rows.slice(current.start, images.num_rows());
        current.start += images.num_rows();
        let bytes = images.columns().iter().map(used_bytes).sum::<usize>() as u64;
        let (sender, scored) = oneshot::channel();
        // The stream may be dropped while its rows are scored.
        let answer = move |scored| drop(sender.send(scored));
        let stream = Arc::downgrade(&self.alive);
        let stage = &self.exec.model.stage;
        stage.submit(&self.exec.image_column, images, Arc::from(""), stream, answer).map_err(external)?;
        self.metrics.begin();
        self.in_flight_bytes += bytes;
        self.in_flight.push_back(InFlight { rows, bytes, scored });
        Ok(true)
    }

    fn finish(&self, chunk: InFlight, scored: &Scored) -> Result<RecordBatch> {
        let columns = &self.exec.model.columns;
        let judged = columns.judge(scored).map_err(external)?;
        self.metrics.add(chunk.rows.num_rows(), judged.failed.len(), scored.timing());
        let mut arrays = chunk.rows.columns().to_vec();
        for (output, _) in &self.exec.outputs {
            arrays.push(output.array(columns, &judged)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.exec.schema), arrays)?)
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        let waits_for_input = self.fill(context)?;
        let Some(first) = self.in_flight.front_mut() else {
            return if waits_for_input { Poll::Pending } else { Poll::Ready(None) };
        };
        let scored = ready!(first.scored.poll_unpin(context))
            .map_err(|_| exec_datafusion_err!("a scoring worker ended unexpectedly"))?
            .map_err(external)?;
        let Some(chunk) = self.in_flight.pop_front() else { return Poll::Ready(None) };
        self.in_flight_bytes -= chunk.bytes;
        Poll::Ready(Some(self.finish(chunk, &scored)))
    }
}

impl ScoreExec {
    fn output_partitioning_count(&self) -> usize {
        self.properties.output_partitioning().partition_count().max(1)
    }
}

impl Stream for ScoreStream {
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

impl RecordBatchStream for ScoreStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.exec.schema)
    }
}
