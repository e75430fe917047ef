//! What a user expects when things end early, break, or run beside each other.

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::config::SessionConfig;
use datafusion::physical_plan::collect;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use dismax::dataset::WriteOptions;
use dismax::stage::{Stage, StageOptions};
use dismax_udfs::Models;
use futures::StreamExt;

use crate::common::{datasets, models};
use crate::support::Fixture;

/// Ten thousand rows: the digits again and again, each time to be scored.
async fn many(fixture: &Fixture) {
    fixture.cache.set_max_bytes(0);
    let copies = (0..14).map(|copy| format!("SELECT id + {} AS id, image FROM photos", copy * 1000));
    let sql = format!("CREATE TABLE many AS {}", copies.collect::<Vec<_>>().join(" UNION ALL "));
    fixture.run(&sql).await;
    assert!(fixture.number("SELECT count(*) FROM many").await > 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_scores_little() {
    let fixture = Fixture::new().await;
    many(&fixture).await;
    let [work, _] = fixture.work_of("SELECT dismax_prediction(image) FROM many LIMIT 5").await;
    assert_eq!(work.decoded, 5, "a limit goes below the scoring node");
    // Which rows have scores cannot be known before; the rest is what was in flight when five were found.
    let [work, _] = fixture.work_of("SELECT id FROM many WHERE dismax_error(image) IS NULL LIMIT 5").await;
    assert!((5..3000).contains(&work.decoded), "{work:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_stops_its_workers() {
    let fixture = Fixture::new().await;
    many(&fixture).await;
    let frame = fixture.session.sql("SELECT id, dismax_prediction(image) FROM many").await.unwrap();
    let mut rows = frame.execute_stream().await.unwrap();
    assert!(rows.next().await.unwrap().unwrap().num_rows() > 0);
    drop(rows);
    // What a worker holds is finished, what is queued is passed over.
    let mut before = fixture.stages[0].stats().decoded;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = fixture.stages[0].stats().decoded;
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < 5000, "{before} of 10,000 rows were scored for a query that nobody waits for");
    // The workers are free for the next query.
    assert_eq!(fixture.number("SELECT count(dismax_ood_p_value(image)) FROM photos WHERE id = 7").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_costs_itself_only() {
    let fixture = Fixture::new().await;
    let broken =
        fixture.rows("SELECT source, dismax_error(image) FROM photos WHERE dismax_error(image) IS NOT NULL").await;
    assert!(!broken.is_empty() && broken.iter().any(|row| row.contains("decode_failed")), "{broken:?}");
    let all = fixture.number("SELECT count(*) FROM photos").await;
    let scored = fixture.number("SELECT count(dismax_confidence(image)) FROM photos").await;
    assert_eq!(scored + broken.len() as u64, all);
    let nulls = "SELECT count(*) FROM photos WHERE dismax_error(image) IS NOT NULL AND (dismax_prediction(image) IS NOT NULL \
                 OR dismax_is_ood(image) IS NOT NULL OR dismax_probabilities(image) IS NOT NULL)";
    assert_eq!(fixture.number(nulls).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_models_in_one_query_score_each_image_once_each() {
    let fixture = Fixture::with(&["a", "b"], SessionConfig::new()).await;
    let sql = "SELECT dismax_prediction(image, 'a'), dismax_prediction(image, 'b') FROM photos \
               WHERE dismax_confidence(image, 'a') >= dismax_confidence(image, 'b') OR dismax_is_ood(image, 0.1, 'b')";
    assert_eq!(fixture.plan(sql).await.matches("ScoreExec").count(), 2);
    let all = fixture.number("SELECT count(*) FROM photos").await;
    assert_eq!(fixture.work_of(sql).await.map(|work| work.decoded), [all, all]);
    // The second model sees what the first left.
    let sql = "SELECT dismax_prediction(image, 'b') FROM photos WHERE dismax_is_ood(image, 'a')";
    let left = fixture.number("SELECT count(*) FROM photos WHERE dismax_is_ood(image, 'a')").await;
    assert_eq!(fixture.work_of(sql).await.map(|work| work.decoded), [all, left]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cache_each_reading_scores_for_itself() {
    let sql = "SELECT id, dismax_prediction(image) FROM photos UNION ALL SELECT id, dismax_error(image) FROM photos";
    let fixture = Fixture::new().await;
    let all = fixture.number("SELECT count(*) FROM photos").await;
    let rows = fixture.rows(sql).await;
    // One row names a file, which is looked at in each reading.
    assert_eq!(fixture.work_of(sql).await[0].decoded, all + 1);
    fixture.cache.set_max_bytes(0);
    assert_eq!((fixture.rows(sql).await, fixture.cache.bytes()), (rows, 0));
    assert_eq!(fixture.work_of(sql).await[0].decoded, 2 * all);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_query_finds_the_scores_of_the_first() {
    let fixture = Fixture::new().await;
    let scored = || fixture.stages[0].stats().scored;
    let first = fixture.rows("SELECT id, dismax_ood_score(image) FROM photos").await;
    let before = scored();
    let all = fixture.number("SELECT count(*) FROM photos").await;
    assert_eq!((before, fixture.cache.images() as u64), (all - 6, all), "six cannot be scored");
    assert_eq!(fixture.rows("SELECT id, dismax_ood_score(image) FROM photos").await, first);
    fixture.rows("SELECT dismax_prediction(image), count(*) FROM photos WHERE dismax_is_ood(image) GROUP BY 1").await;
    assert_eq!(scored(), before);
    fixture.cache.clear();
    assert_eq!(fixture.rows("SELECT id, dismax_ood_score(image) FROM photos").await, first);
    assert_eq!(scored(), 2 * before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_top_k_sort_knew_in_one_run_does_not_count_in_the_next() {
    let fixture = Fixture::new().await;
    let sql = "SELECT id FROM photos WHERE dismax_error(image) IS NULL ORDER BY id LIMIT 3";
    assert!(fixture.plan(sql).await.contains("FilterExec: DynamicFilter"), "{}", fixture.plan(sql).await);
    let mut plan = fixture.session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    for _ in 0..2 {
        let rows = collect(Arc::clone(&plan), fixture.session.task_ctx()).await.unwrap();
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 3);
        plan = reset_plan_states(plan).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_does_not_reach_below_a_limit() {
    let fixture = Fixture::with(&["a"], SessionConfig::new().with_target_partitions(1)).await;
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits/mixed.parquet");
    let sorted = format!("CREATE EXTERNAL TABLE sorted STORED AS PARQUET WITH ORDER (id ASC) LOCATION '{photos}'");
    fixture.run(&sorted).await;
    fixture.run("CREATE TABLE few AS VALUES (3), (5), (700)").await;
    // The limit settles which rows there are to join; 700 is not among them.
    let sql = "SELECT x.id, p FROM (SELECT id, dismax_prediction(image) AS p FROM sorted WHERE dismax_error(image) IS NULL \
               ORDER BY id LIMIT 100) x JOIN few f ON x.id = f.column1";
    assert_eq!(fixture.rows(sql).await.len(), 2, "{}", fixture.plan(sql).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_not_needed_on_disk_after_registration() {
    let folder = datasets::folder();
    let place = folder.path().join("model");
    models::calibrated().write(&place, false).unwrap();
    let fixture = Fixture::new().await;
    let model = dismax::model::Model::read(&place).unwrap();
    dismax_udfs::register(&fixture.session, Models::new().with("kept", model)).unwrap();
    std::fs::remove_dir_all(&place).unwrap();
    assert!(fixture.number("SELECT count(dismax_ood_p_value(image, 'kept')) FROM photos").await > 600);
    let gone = fixture.try_run("SELECT dismax_ood_p_value(image, 'a') FROM photos").await.unwrap_err().to_string();
    assert!(gone.contains("there is no model 'a'") && gone.contains("'kept'"), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_queries_at_once_share_the_workers() {
    let fixture = Arc::new(Fixture::new().await);
    let sql = "SELECT dismax_prediction(image), count(*), sum(dismax_ood_score(image)) FROM photos GROUP BY 1";
    let expected = fixture.rows(sql).await;
    let queries = (0..8).map(|_| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move { fixture.rows("SELECT id, dismax_prediction(image) FROM photos").await.len() })
    });
    let queries: Vec<_> = queries.collect();
    let all = fixture.number("SELECT count(*) FROM photos").await as usize;
    for query in queries {
        assert_eq!(query.await.unwrap(), all);
    }
    assert_eq!(fixture.rows(sql).await.len(), expected.len());
}

#[tokio::test]
async fn a_runtime_of_one_thread_is_enough() {
    let fixture = Fixture::new().await;
    assert!(
        fixture
            .number("SELECT count(dismax_ood_p_value(image)) FROM photos WHERE dismax_is_ood(image) OR id < 10")
            .await
            > 0
    );
    // The scalar function blocks its thread while the workers score.
    assert!(fixture.session.remove_optimizer_rule("dismax_score_once"));
    assert!(fixture.number("SELECT count(dismax_ood_p_value(image)) FROM photos").await > 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_cut_by_bytes() {
    // Rows of 4 MiB, which are no images: 8,192 of them would be 32 GiB.
    let fixture = Fixture::new().await;
    let folder = datasets::folder();
    let file = folder.path().join("large.parquet");
    let bytes = 4 << 20;
    // Like images, bytes that no compression makes smaller.
    let row = |row: u32| {
        (0..bytes as u32 / 4)
            .flat_map(|at| (at ^ (row << 20)).wrapping_mul(0x9E37_79B9).to_le_bytes().map(|b| b ^ (b >> 3)))
            .collect::<Vec<u8>>()
    };
    let images = datafusion::arrow::array::BinaryArray::from_iter_values((0..40).map(row));
    let batch = datafusion::arrow::array::RecordBatch::try_from_iter([("image", Arc::new(images) as _)]).unwrap();
    datasets::write(&file, &[batch], &WriteOptions::default());
    fixture.run(&format!("CREATE EXTERNAL TABLE large STORED AS PARQUET LOCATION '{}'", file.display())).await;
    let frame = fixture
        .session
        .sql("SELECT image FROM large WHERE image IS NOT NULL AND dismax_error(image) IS NOT NULL")
        .await
        .unwrap();
    let mut rows = frame.execute_stream().await.unwrap();
    let most = fixture.stages[0].max_chunk_bytes();
    let (mut seen, mut largest) = (0, 0);
    while let Some(batch) = rows.next().await {
        let batch = batch.unwrap();
        seen += batch.num_rows();
        largest = largest.max(batch.num_rows() * bytes);
    }
    assert_eq!(seen, 40);
    assert!(largest <= most, "a batch of {largest} bytes, at most {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_analyze_says_what_scoring_cost() {
    let fixture = Fixture::new().await;
    let plan = fixture.text("EXPLAIN ANALYZE SELECT dismax_prediction(image) FROM photos WHERE id < 300").await;
    let line = plan.lines().find(|line| line.contains("ScoreExec")).unwrap();
    for metric in ["images=300", "errors=", "decode_time=", "network_time=", "images_per_second="] {
        assert!(line.contains(metric), "{metric} is missing in {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_being_built_takes_the_functions_as_well() {
    let model = models::calibrated();
    let stage = Arc::new(
        Stage::try_new(model, &StageOptions { device: dismax::Device::Cpu, workers: 1, ..StageOptions::default() })
            .unwrap(),
    );
    let builder = datafusion::execution::SessionStateBuilder::new().with_default_features();
    let builder = dismax_udfs::extend(builder, Models::new().with_stage("m", stage)).unwrap();
    let session = datafusion::prelude::SessionContext::new_with_state(builder.build());
    let answer = session.sql("SELECT dismax_error(X'00'), dismax_error(NULL)").await.unwrap().collect().await.unwrap();
    let text = datafusion::arrow::util::pretty::pretty_format_batches(&answer).unwrap().to_string();
    assert!(text.contains("unknown_format") && text.contains("null_image"), "{text}");
    let sql =
        "SELECT dismax_error(image) FROM (VALUES (X'00'), (X'01')) t(image) WHERE dismax_error(image) IS NOT NULL";
    let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    assert!(datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string().contains("ScoreExec"));
    assert_eq!(session.sql(sql).await.unwrap().count().await.unwrap(), 2);
}
