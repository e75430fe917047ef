//! Queries on one machine and on workers: equal rows, and each image scored as often as the plan says.

use std::path::{Path, PathBuf};

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::config::SessionConfig;
use datafusion::prelude::SessionContext;
use dismax::Model;
use dismax_cluster::{Cluster, Security, join};
use dismax_udfs::Models;
use tempfile::TempDir;

use crate::common::models;
use crate::shapes::{IMAGES, SHAPES, Shape, TABLES, is_open};
use crate::support::WorkerProcess;

/// Workers, a session on them and one without.
struct Fixture {
    workers: Vec<WorkerProcess>,
    session: SessionContext,
    alone: SessionContext,
    _folder: TempDir,
}

impl Fixture {
    async fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        // Only a model that was written has a digest.
        models::calibrated().write(&model, false).unwrap();
        let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/digits").canonicalize().unwrap();
        let workers: Vec<WorkerProcess> = (0..count).map(|_| WorkerProcess::start(&model, &digits)).collect();
        let session = session(&model, &digits).await;
        let alone = self::session(&model, &digits).await;
        let addresses: Vec<&str> = workers.iter().map(|worker| worker.address.as_str()).collect();
        join(&session, &Cluster::connect(&addresses, Security::default()).await.unwrap()).unwrap();
        Self { workers, session, alone, _folder: folder }
    }

    /// Images that the workers decoded since they were started.
    fn decoded(&self) -> u64 {
        self.workers.iter().map(|worker| worker.metric("dismax_images_decoded_total")).sum()
    }
}

async fn session(model: &Path, digits: &Path) -> SessionContext {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let models = Models::new().with("a", Model::read(model).unwrap()).started_late();
    dismax_udfs::register(&session, models).unwrap();
    let photos: PathBuf = digits.join("mixed.parquet");
    let table = format!("CREATE EXTERNAL TABLE photos STORED AS PARQUET LOCATION '{}'", photos.display());
    for sql in std::iter::once(&*table).chain(TABLES.iter().copied()) {
        session.sql(sql).await.unwrap().collect().await.unwrap();
    }
    session
}

/// The rows as sorted lines.
async fn rows(session: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let rows = async { session.sql(sql).await?.collect().await };
    let text = pretty_format_batches(&rows.await.map_err(|error| error.to_string())?).unwrap().to_string();
    let mut rows: Vec<String> = text.lines().skip(3).filter(|line| line.starts_with('|')).map(Into::into).collect();
    rows.sort();
    Ok(rows)
}

async fn check_shapes(count: usize) {
    let fixture = Fixture::new(count).await;
    let mut wrong = Vec::new();
    for Shape(sql, nodes, number) in SHAPES {
        let expected: u64 = rows(&fixture.alone, number).await.unwrap()[0].trim_matches(['|', ' ']).parse().unwrap();
        let before = fixture.decoded();
        let found = rows(&fixture.session, sql).await;
        let decoded = fixture.decoded() - before;
        // Workers remember scores, and a limit may be reached by the rows of fewer. Images that are read twice may be
        // read by two workers.
        let readings = if *number == IMAGES { sql.matches("FROM photos").count().max(*nodes) } else { 1 };
        if decoded > expected * readings as u64 {
            wrong.push(format!(
                "{sql}\n{decoded} images were decoded, expected {expected} for each of {readings} readings"
            ));
        }
        if is_open(sql) {
            found.map(|_| ()).unwrap_or_else(|error| wrong.push(format!("{sql}\n{error}")));
            continue;
        }
        if found != rows(&fixture.alone, sql).await {
            wrong.push(format!("{sql}\ngives another answer: {:.300}", format!("{found:?}")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} shapes:\n{}", wrong.len(), SHAPES.len(), wrong.join("\n\n"));
    assert!(fixture.decoded() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_give_the_rows_of_one_machine() {
    check_shapes(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_workers_give_the_rows_of_one_machine() {
    check_shapes(4).await;
}
