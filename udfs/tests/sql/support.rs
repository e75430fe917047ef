//! A session with a model whose work can be counted, and what queries give in it.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::config::SessionConfig;
use datafusion::prelude::SessionContext;
use dismax::stage::{Stage, StageOptions, StageStats};
use dismax_udfs::{Models, ScoreCache};

use crate::common::models;

/// Digits known and unknown, with a few rows that cannot be scored: id, image, digit, source.
pub const MIXED: &str = "examples/data/digits/mixed.parquet";

/// A session and the stages of its models, `a` and `b`.
pub struct Fixture {
    pub session: SessionContext,
    pub stages: [Arc<Stage>; 2],
    pub cache: Arc<ScoreCache>,
}

impl Fixture {
    /// One model, `a`, and the table `photos`.
    pub async fn new() -> Self {
        Self::with(&["a"], SessionConfig::new().with_target_partitions(4)).await
    }

    pub async fn with(names: &[&str], config: SessionConfig) -> Self {
        let model = models::calibrated();
        let options = StageOptions { device: dismax::Device::Cpu, workers: 2, ..StageOptions::default() };
        let stages = [(); 2].map(|()| Arc::new(Stage::try_new(model.clone(), &options).unwrap()));
        let cache = Arc::new(ScoreCache::default());
        let models = Models::new().with_cache(Arc::clone(&cache));
        let models =
            names.iter().zip(&stages).fold(models, |models, (name, stage)| models.with_stage(*name, Arc::clone(stage)));
        let session = SessionContext::new_with_config(config.with_information_schema(true));
        dismax_udfs::register(&session, models).unwrap();
        let fixture = Self { session, stages, cache };
        fixture.table("photos", MIXED).await;
        fixture
    }

    /// A Parquet file of the repository as a table.
    pub async fn table(&self, name: &str, file: &str) {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let sql = format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}'", place.display());
        self.run(&sql).await;
    }

    pub async fn try_run(&self, sql: &str) -> datafusion::error::Result<Vec<RecordBatch>> {
        self.session.sql(sql).await?.collect().await
    }

    pub async fn run(&self, sql: &str) -> Vec<RecordBatch> {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// The rows as sorted lines.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let text = self.text(sql).await;
        let mut rows: Vec<String> = text.lines().skip(3).filter(|line| line.starts_with('|')).map(Into::into).collect();
        rows.sort();
        rows
    }

    /// The answer as a table.
    pub async fn text(&self, sql: &str) -> String {
        pretty_format_batches(&self.run(sql).await).unwrap().to_string()
    }

    /// The one number that a query gives.
    pub async fn number(&self, sql: &str) -> u64 {
        let rows = self.rows(sql).await;
        let number = rows.first().map(|row| row.trim_matches(['|', ' ']).parse());
        number.unwrap_or_else(|| panic!("{sql} gives nothing")).unwrap_or_else(|_| panic!("{sql} gives {rows:?}"))
    }

    /// What both models did for a query, with no scores remembered from before.
    pub async fn work_of(&self, sql: &str) -> [StageStats; 2] {
        self.cache.clear();
        let before = self.stages.each_ref().map(|stage| stage.stats());
        self.run(sql).await;
        let after = self.stages.each_ref().map(|stage| stage.stats());
        [0, 1].map(|model: usize| StageStats {
            decoded: after[model].decoded - before[model].decoded,
            scored: after[model].scored - before[model].scored,
            passes: after[model].passes - before[model].passes,
            ..StageStats::default()
        })
    }

    /// The execution plan.
    pub async fn plan(&self, sql: &str) -> String {
        self.text(&format!("EXPLAIN FORMAT INDENT {sql}")).await
    }
}
