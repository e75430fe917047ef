//! Runs the sqllogictest files of `tests/logic`. With `UPDATE_LOGIC=1` in the environment it writes what it finds into
//! them instead: look at what differs.

use std::path::Path;
use std::time::Duration;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use crate::support::Fixture;

struct Session(Fixture);

#[async_trait::async_trait]
impl AsyncDB for Session {
    type Error = DataFusionError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, DataFusionError> {
        let frame = self.0.session.sql(sql).await?;
        let types = frame.schema().fields().iter().map(|field| match field.data_type() {
            other if other.is_integer() => DefaultColumnType::Integer,
            other if other.is_floating() => DefaultColumnType::FloatingPoint,
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(..) => {
                DefaultColumnType::Text
            }
            _ => DefaultColumnType::Any,
        });
        let types: Vec<_> = types.collect();
        let mut rows = Vec::new();
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap();
        let root = place.parent().unwrap().display().to_string();
        for batch in frame.collect().await? {
            let options = FormatOptions::new().with_null("NULL");
            let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
            let columns: Vec<ArrayFormatter> = columns.collect::<Result<_, _>>()?;
            for row in 0..batch.num_rows() {
                // Plans name files; where the repository lies must not matter.
                let value = |column: &ArrayFormatter| match column
                    .value(row)
                    .to_string()
                    .trim_end()
                    .replace(root.trim_start_matches('/'), "ROOT")
                {
                    empty if empty.is_empty() => "(empty)".to_owned(),
                    value => value,
                };
                let cells: Vec<String> = columns.iter().map(value).collect();
                rows.extend(lines(&cells.join(" ")));
            }
        }
        Ok(if types.is_empty() { DBOutput::StatementComplete(0) } else { DBOutput::Rows { types, rows } })
    }

    async fn shutdown(&mut self) {}

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A row for each line: a plan has many, and files compare line by line. Dots show how deep a line stands.
fn lines(text: &str) -> impl Iterator<Item = Vec<String>> {
    text.lines().map(|line| {
        let depth = line.len() - line.trim_start().len();
        vec![".".repeat(depth) + line.trim_start()]
    })
}

async fn run(file: &str, models: &'static [&'static str]) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logic").join(file);
    let config = datafusion::execution::config::SessionConfig::new().with_target_partitions(4);
    let mut runner = Runner::new(|| {
        let config = config.clone();
        async move { Ok(Session(Fixture::with(models, config).await)) }
    });
    if std::env::var_os("UPDATE_LOGIC").is_some() {
        let columns = sqllogictest::default_column_validator;
        let (rows, values) = (sqllogictest::default_validator, sqllogictest::default_normalizer);
        runner.update_test_file(place, " ", rows, values, columns).await.unwrap();
    } else if let Err(error) = runner.run_file_async(place).await {
        panic!("{}", error.display(false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions() {
    run("functions.slt", &["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors() {
    run("errors.slt", &["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_models() {
    run("models.slt", &["a", "b"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans() {
    run("plans.slt", &["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audits() {
    run("audits.slt", &["a"]).await;
}
