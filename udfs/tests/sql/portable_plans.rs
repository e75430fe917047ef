//! Plans that are made in one session, travel as bytes and are carried out in another.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::config::SessionConfig;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use dismax::dataset::WriteOptions;
use dismax::stage::{Stage, StageOptions};
use dismax::{Device, Model};
use dismax_udfs::{DatasetExec, ModelName, Models, RowRangesExec, ScoreCache, ScoreCodec, Spread, StageSource};

use crate::common::{datasets, models};
use crate::support::MIXED;

/// The process that carries plans out: it has one model.
#[derive(Debug)]
struct Other {
    stage: Arc<Stage>,
    cache: Arc<ScoreCache>,
}

impl StageSource for Other {
    fn stage(&self, model: &ModelName) -> Result<Arc<Stage>> {
        match model.digest == self.stage.model().digest() {
            true => Ok(Arc::clone(&self.stage)),
            false => Err(DataFusionError::Execution(format!("there is no model '{}'", model.name))),
        }
    }

    fn cache(&self) -> Arc<ScoreCache> {
        Arc::clone(&self.cache)
    }

    fn admit(&self, place: &str) -> Result<()> {
        match place.contains("forbidden") {
            true => Err(DataFusionError::Execution(format!("{place}: not here"))),
            false => Ok(()),
        }
    }
}

struct Fixture {
    /// Makes plans. Its models have no workers, and could have none: they ask for a device that is not there.
    maker: SessionContext,
    /// The same query here, for the answer.
    alone: SessionContext,
    other: Arc<Other>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = datasets::folder();
        let place = folder.path().join("model");
        // Only a model that was written has a digest.
        models::calibrated().write(&place, false).unwrap();
        let model = || Model::read(&place).unwrap();
        let cpu = StageOptions { device: Device::Cpu, workers: 2, ..StageOptions::default() };
        let stage = Arc::new(Stage::try_new(model(), &cpu).unwrap());
        let config = || SessionConfig::new().with_target_partitions(3);
        let alone = dismax_udfs::with_file_tables(SessionContext::new_with_config(config()));
        dismax_udfs::register(&alone, Models::new().with_stage("a", Arc::clone(&stage))).unwrap();
        let spread = config().with_extension(Arc::new(Spread));
        let maker = dismax_udfs::with_file_tables(SessionContext::new_with_config(spread));
        let nowhere = StageOptions { device: Device::Cuda(99), ..StageOptions::default() };
        let late = Models::new().with_options(nowhere).started_late().with("a", model());
        assert_eq!(late.names()[0].digest, stage.model().digest());
        dismax_udfs::register(&maker, late).unwrap();
        assert_eq!(dismax_udfs::models_of(maker.state().scalar_functions())[0].name, "a");
        let other = Arc::new(Other { stage, cache: Arc::default() });
        Self { maker, alone, other, _folder: folder }
    }

    async fn plan(&self, sql: &str) -> Arc<dyn ExecutionPlan> {
        self.maker.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    /// A plan as the other process reads it.
    fn sent(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let bytes = physical_plan_to_bytes_with_extension_codec(plan, &ScoreCodec::writing())?;
        let codec = ScoreCodec::reading(Arc::clone(&self.other) as Arc<dyn StageSource>);
        let plan = physical_plan_from_bytes_with_extension_codec(&bytes, &SessionContext::new().task_ctx(), &codec)?;
        dismax_udfs::sized_for_stages(plan)
    }

    async fn rows(&self, plan: Arc<dyn ExecutionPlan>) -> Vec<String> {
        sorted(&collect(plan, SessionContext::new().task_ctx()).await.unwrap())
    }
}

fn sorted(batches: &[datafusion::arrow::array::RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let mut rows: Vec<String> =
        text.lines().skip(3).filter(|line| line.starts_with('|')).map(|line| line.replace(' ', "")).collect();
    rows.sort();
    rows
}

/// The scan of a plan.
fn scan_of(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let mut found = None;
    let visited = plan.apply(|node| {
        if node.is::<DataSourceExec>() || node.is::<DatasetExec>() {
            found = Some(Arc::clone(node));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.unwrap();
    found.expect("a plan reads something")
}

fn mixed() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(MIXED).display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_gives_the_same_rows_elsewhere() {
    let fixture = Fixture::new();
    let folder = datasets::folder();
    for number in 0..12u8 {
        let place = folder.path().join("photos").join(if number % 2 == 0 { "cat" } else { "dog" });
        fs::create_dir_all(&place).unwrap();
        let picture = image::GrayImage::from_pixel(8, 8, image::Luma([number * 20]));
        picture.save(place.join(format!("{number:02}.png"))).unwrap();
    }
    let metadata: String = (0..8).map(|n| format!("{}/{n:02}.png,{n}\n", ["cat", "dog"][n % 2])).collect();
    fs::write(folder.path().join("photos/metadata.csv"), format!("file_name,weight\n{metadata}")).unwrap();
    let bare = folder.path().join("bare");
    fs::create_dir(&bare).unwrap();
    fs::copy(folder.path().join("photos/cat/00.png"), bare.join("0.png")).unwrap();
    fs::write(bare.join("metadata.csv"), "file_name\n0.png\n").unwrap();
    let bare = bare.display();
    let (mixed, photos) = (mixed(), folder.path().join("photos").display().to_string());
    let before = fixture.other.stage.stats().decoded;
    for sql in [
        format!("SELECT id, dismax(image), dismax_is_ood(image, 0.2) FROM '{mixed}'"),
        format!(
            "SELECT id, dismax_top_k(image, 2), dismax_prediction_set(image, 0.1), dismax_embedding(image) FROM '{mixed}'"
        ),
        format!("SELECT dismax_prediction(image) AS p, count(*) FROM '{mixed}' WHERE id % 3 = 0 GROUP BY 1"),
        format!("SELECT id FROM '{mixed}' ORDER BY dismax_ood_score(image) DESC NULLS LAST, id LIMIT 7"),
        format!("SELECT path, image['path'], weight, label, dismax_ood_score(image) FROM '{photos}'"),
        format!("SELECT label, path FROM '{photos}' WHERE weight IS NULL"),
        format!("SELECT path, dismax_ood_score(image) FROM '{bare}'"),
    ] {
        let expected = sorted(&fixture.alone.sql(&sql).await.unwrap().collect().await.unwrap());
        fixture.other.cache.clear();
        let plan = fixture.sent(fixture.plan(&sql).await).unwrap();
        let rows = fixture.rows(plan).await;
        assert!(!rows.is_empty());
        assert_eq!(rows, expected, "{sql}");
    }
    assert!(fixture.other.stage.stats().decoded > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_read_by_one_of_several() {
    let fixture = Fixture::new();
    let folder = datasets::folder();
    // One row group, which cuts by bytes cannot share out.
    let file = folder.path().join("one.parquet");
    datasets::write(&file, &[datasets::rows(0..101)], &WriteOptions::default());
    let second = folder.path().join("two.parquet");
    datasets::write(&second, &[datasets::rows(101..140)], &WriteOptions::default());
    let plan = fixture.plan(&format!("SELECT label FROM '{}/*.parquet'", folder.path().display())).await;
    let scan = scan_of(&plan);
    let all = fixture.rows(Arc::clone(&scan)).await;
    assert_eq!(all.len(), 140);
    for tasks in [1, 3, 4, 200] {
        let (mut rows, mut counts) = (Vec::new(), Vec::new());
        for part in RowRangesExec::divided(&scan, tasks).unwrap().expect("plain files of known rows") {
            // Unknown partitionings are equal to none, so their numbers are compared.
            let partitions = |plan: &dyn ExecutionPlan| plan.properties().output_partitioning().partition_count();
            assert_eq!(partitions(&*part), partitions(&*scan));
            let part = fixture.rows(fixture.sent(part).unwrap()).await;
            counts.push(part.len());
            rows.extend(part);
        }
        rows.sort();
        assert_eq!(rows, all, "{tasks}");
        assert!(counts.iter().all(|count| count.abs_diff(140 / tasks) <= 1), "{tasks}: {counts:?}");
    }
    // Which rows are the first must not depend on who reads.
    let limited = fixture.plan(&format!("SELECT label FROM '{}' LIMIT 5", file.display())).await;
    assert!(RowRangesExec::divided(&scan_of(&limited), 3).unwrap().is_none());
    // A file that is named twice has its rows twice.
    let twice = format!("SELECT label FROM '{0}' UNION ALL SELECT label FROM '{0}'", file.display());
    assert_eq!(fixture.rows(fixture.sent(fixture.plan(&twice).await).unwrap()).await.len(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_same_elsewhere_is_refused() {
    let fixture = Fixture::new();
    // A model that the other process has not.
    let session = dismax_udfs::with_file_tables(SessionContext::new());
    dismax_udfs::register(&session, Models::new().with("a", models::calibrated())).unwrap();
    let sql = format!("SELECT dismax_prediction(image) FROM '{}'", mixed());
    let plan = session.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
    let error = fixture.sent(plan).expect_err("another digest").to_string();
    assert!(error.contains("there is no model 'a'"), "{error}");
    // A model that cannot start says so where it is used, not where it is planned.
    let error = fixture.maker.sql(&sql).await.unwrap().collect().await.expect_err("no such device").to_string();
    assert!(error.to_lowercase().contains("cuda"), "{error}");

    // A tar file that changed on its way.
    let folder = datasets::folder();
    let shard = folder.path().join("shard.tar");
    let pack = |texts: &[&str]| {
        let mut archive = tar::Builder::new(Vec::new());
        for (number, text) in texts.iter().enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            archive.append_data(&mut header, format!("{number}.txt"), text.as_bytes()).unwrap();
        }
        fs::write(&shard, archive.into_inner().unwrap()).unwrap();
    };
    pack(&["one", "two"]);
    let plan = fixture.plan(&format!("SELECT txt FROM '{}'", shard.display())).await;
    let bytes = physical_plan_to_bytes_with_extension_codec(plan, &ScoreCodec::writing()).unwrap();
    pack(&["one", "two", "three"]);
    let codec = ScoreCodec::reading(Arc::clone(&fixture.other) as Arc<dyn StageSource>);
    let read =
        |bytes: &[u8]| physical_plan_from_bytes_with_extension_codec(bytes, &SessionContext::new().task_ctx(), &codec);
    let error = read(&bytes).expect_err("another file").to_string();
    assert!(error.contains("shard.tar") && error.contains("run again"), "{error}");
}
