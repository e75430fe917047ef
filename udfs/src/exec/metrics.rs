//! What `EXPLAIN ANALYZE` says of a scoring node.

use std::time::{Duration, Instant};

use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, Time};
use dismax::stage::Timing;

/// Metrics of one partition.
#[derive(Debug)]
pub(super) struct ScoreMetrics {
    pub baseline: BaselineMetrics,
    images: Count,
    shared_images: Count,
    errors: Count,
    decode_time: Time,
    network_time: Time,
    images_per_second: Gauge,
    start: Option<Instant>,
}

/// What one record batch adds.
pub(super) struct Batch {
    /// Images that the workers decoded and scored for it.
    pub images: usize,
    /// Images whose scores another record batch has.
    pub shared: usize,
    pub errors: usize,
    pub timing: Timing,
}

impl ScoreMetrics {
    pub fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let builder = || MetricBuilder::new(metrics);
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            images: builder().counter("images", partition),
            shared_images: builder().counter("shared_images", partition),
            errors: builder().counter("errors", partition),
            decode_time: builder().subset_time("decode_time", partition),
            network_time: builder().subset_time("network_time", partition),
            images_per_second: builder().gauge("images_per_second", partition),
            start: None,
        }
    }

    /// The first record batch went to the workers.
    pub fn begin(&mut self) {
        self.start.get_or_insert_with(Instant::now);
    }

    /// A record batch came back. Times are those of the workers, which run beside each other.
    pub fn add(&self, batch: Batch) {
        let Batch { images, shared, errors, timing } = batch;
        self.images.add(images);
        self.shared_images.add(shared);
        self.errors.add(errors);
        // Zero would count as one nanosecond.
        let add = |time: &Time, spent: Duration| {
            if !spent.is_zero() {
                time.add_duration(spent)
            }
        };
        add(&self.decode_time, timing.decode);
        add(&self.network_time, timing.network);
        if let Some(start) = self.start {
            let seconds = start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
            self.images_per_second.set((self.images.value() as f64 / seconds) as usize);
        }
    }
}
