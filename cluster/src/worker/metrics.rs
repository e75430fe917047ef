//! What a worker counts, in the text format of Prometheus.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::models::WorkerModels;

/// Pieces of queries, and parts, that a worker was given.
#[derive(Debug, Default)]
pub(super) struct WorkerMetrics {
    tasks: Counter<u64, AtomicU64>,
    running: Gauge<i64, AtomicI64>,
}

impl WorkerMetrics {
    /// All metrics of a worker. Those of its models are read from their stages when somebody asks.
    pub fn registry(self: &Arc<Self>, models: &Arc<WorkerModels>) -> Registry {
        let mut registry = Registry::with_prefix("dismax");
        registry.register("tasks", "Pieces of queries and parts of datasets that were begun", self.tasks.clone());
        registry.register("tasks_running", "Those that have not ended", self.running.clone());
        registry.register_collector(Box::new(StageCollector { models: Arc::clone(models) }));
        registry
    }

    /// Those that have not ended.
    pub fn running(&self) -> i64 {
        self.running.get()
    }
}

/// A piece of a query that runs until this is dropped.
#[derive(Debug)]
pub(super) struct RunningTask {
    metrics: Arc<WorkerMetrics>,
    query: String,
    start: Instant,
}

impl RunningTask {
    pub fn begin(metrics: &Arc<WorkerMetrics>, query: String) -> Self {
        log::info!("query {query}: begun");
        metrics.tasks.inc();
        metrics.running.inc();
        Self { metrics: Arc::clone(metrics), query, start: Instant::now() }
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        self.metrics.running.dec();
        log::info!("query {}: ended after {:.3} s", self.query, self.start.elapsed().as_secs_f64());
    }
}

/// What the stages of all models did.
#[derive(Debug)]
struct StageCollector {
    models: Arc<WorkerModels>,
}

impl Collector for StageCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stages = self.models.started();
        let mut count = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, unit, counter.metric_type())?)
        };
        let sum = |of: &dyn Fn(&dismax::stage::StageStats) -> f64| stages.iter().map(|stage| of(&stage.stats())).sum();
        count("images_decoded", "Images that were decoded, or tried", None, sum(&|stats| stats.decoded as f64))?;
        count("images_scored", "Images that went through a network", None, sum(&|stats| stats.scored as f64))?;
        let seconds = Some(&Unit::Seconds);
        let decode = sum(&|stats| stats.timing.decode.as_secs_f64());
        count("decode", "Time of loading, decoding and resizing, over all threads", seconds, decode)?;
        let network = sum(&|stats| stats.timing.network.as_secs_f64());
        count("network", "Time in networks, over all threads", seconds, network)?;
        let mut errors = encoder.encode_descriptor(
            "row_errors",
            "Images without scores, by the reason",
            None,
            ConstCounter::new(0u64).metric_type(),
        )?;
        for stage in &stages {
            let model = crate::info::short(stage.model().digest()).to_owned();
            for (code, number) in stage.row_errors() {
                let labels = [("code", code.as_str().to_owned()), ("model", model.clone())];
                ConstCounter::new(number).encode(errors.encode_family(&labels)?)?;
            }
        }
        let queued = ConstGauge::new(stages.iter().map(|stage| stage.queued()).sum::<usize>() as i64);
        queued.encode(encoder.encode_descriptor(
            "queue",
            "Batches that wait for a thread",
            None,
            queued.metric_type(),
        )?)?;
        if let Some(bytes) = resident_bytes() {
            let memory = ConstGauge::new(bytes);
            let help = "Memory of the process";
            memory.encode(encoder.encode_descriptor("memory", help, Some(&Unit::Bytes), memory.metric_type())?)?;
        }
        Ok(())
    }
}

/// Memory of this process, where the system says.
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()? * 1024)
}
