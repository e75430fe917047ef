//! `CREATE MODEL`, `DROP MODEL`, and the tables about models.

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use dismax::Device;
use dismax::model::Model;
use dismax::stage::StageOptions;
use dismax_udfs::{Models, SessionStatement, parse_statements};

use crate::common::models;
use crate::support::Fixture;

/// Runs statements one after the other, and gives the number of rows of the last or why one failed.
async fn run(session: &SessionContext, script: &str) -> Result<usize, String> {
    let mut rows = 0;
    for statement in parse_statements(script).map_err(|error| error.to_string())? {
        let frame = match statement {
            SessionStatement::Model(statement) => statement.run(session),
            SessionStatement::Sql(statement) => session.sql(&statement.to_string()).await,
        };
        rows = frame.map_err(|error| error.to_string())?.count().await.map_err(|error| error.to_string())?;
    }
    Ok(rows)
}

fn folders() -> (tempfile::TempDir, [String; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let place = |seed: u64| {
        let place = folder.path().join(format!("it's {seed}"));
        models::calibrated_from(seed).write(&place, false).unwrap();
        place.display().to_string().replace('\'', "''")
    };
    let places = [1, 2].map(place);
    (folder, places)
}

#[tokio::test(flavor = "multi_thread")]
async fn models_come_and_go() {
    let fixture = Fixture::with(&[], Default::default()).await;
    let (session, (_folder, [one, two])) = (&fixture.session, folders());
    let scores = |model: &str| format!("SELECT DISTINCT dismax_ood_score(image{model}) AS s FROM photos WHERE id < 20");
    assert!(run(session, &scores("")).await.unwrap_err().contains("no model is registered"));

    // Several statements, a name in other letters, a comment.
    let script = format!("-- first\nCREATE MODEL First FROM '{one}';; create or replace model \"Two\" from '{two}';");
    run(session, &script).await.unwrap();
    assert_eq!(run(session, "SELECT * FROM dismax_models() WHERE name IN ('first', 'Two') AND loaded").await, Ok(2));
    let both = format!("{} INTERSECT {}", scores(", 'first'"), scores(", 'Two'"));
    let (of_first, of_both) = (run(session, &scores(", 'first'")).await.unwrap(), run(session, &both).await.unwrap());
    assert!(of_both < of_first, "the models differ: {of_both} of {of_first}");

    // A view keeps its model, and a query finds the new one.
    run(session, &format!("CREATE VIEW v AS {}", scores(", 'first'"))).await.unwrap();
    let message = run(session, &format!("CREATE MODEL first FROM '{two}'")).await.unwrap_err();
    assert!(message.contains("already; CREATE OR REPLACE MODEL"), "{message}");
    run(session, &format!("CREATE OR REPLACE MODEL first FROM '{two}'")).await.unwrap();
    assert_eq!(run(session, &both).await, Ok(of_first), "both are one model now");
    let of_view = format!("SELECT s FROM v INTERSECT {}", scores(", 'first'"));
    assert_eq!(run(session, &of_view).await, Ok(of_both));

    run(session, "DROP MODEL \"Two\"; DROP MODEL IF EXISTS two").await.unwrap();
    assert_eq!(run(session, &scores("")).await, Ok(of_first), "the only model needs no name");
    let message = run(session, "DROP MODEL two").await.unwrap_err();
    assert!(message.contains("there is no model 'two' (registered: 'first')"), "{message}");
    for (statement, expected) in [
        ("CREATE MODEL x FROM 'nowhere'", "nowhere"),
        ("CREATE MODEL x 'nowhere'", "FROM"),
        ("CREATE MODEL x FROM 'a' AND 'b'", "end of statement"),
        ("CREATE MODEL FROM 'nowhere'", "FROM"),
        ("DROP MODEL", "identifier"),
    ] {
        let message = run(session, statement).await.unwrap_err();
        assert!(message.contains(expected), "{statement}: {message}");
    }
    // A table may be called so.
    assert_eq!(run(session, "CREATE TABLE model AS SELECT 1; SELECT * FROM model; DROP TABLE model").await, Ok(0));

    let frame = dismax_udfs::sql(session, &format!("CREATE MODEL third FROM '{one}';")).await.unwrap();
    assert_eq!(frame.collect().await.unwrap().len(), 0);
    assert_eq!(dismax_udfs::sql(session, "SELECT * FROM dismax_models()").await.unwrap().count().await.unwrap(), 2);
    let two_at_once = dismax_udfs::sql(session, "DROP MODEL third; SELECT 1").await.unwrap_err().to_string();
    assert!(two_at_once.contains("end of statement"), "{two_at_once}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_on_demand_starts_with_the_first_query_that_needs_it() {
    let (_folder, [one, two]) = folders();
    let options = StageOptions { device: Device::Cpu, workers: 1, ..StageOptions::default() };
    let read = |place: &str| Model::read(place.replace("''", "'")).unwrap();
    let models =
        Models::new().with_options(options).with_on_demand("one", read(&one)).with_on_demand("two", read(&two));
    let session = SessionContext::new();
    dismax_udfs::register(&session, models).unwrap();
    let loaded = || run(&session, "SELECT * FROM dismax_models() WHERE loaded");
    assert_eq!(loaded().await, Ok(0));
    let table = Fixture::with(&[], Default::default()).await.session.table_provider("photos").await.unwrap();
    session.register_table("photos", Arc::clone(&table)).unwrap();
    let sql = "SELECT id FROM photos WHERE id < 20 AND dismax_error(image, 'two') IS NULL";
    assert!(run(&session, sql).await.unwrap() > 0);
    assert_eq!(loaded().await, Ok(1));
}
