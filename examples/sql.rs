//! Asks a dataset in SQL which rows a model does not know.
//!
//!     cargo run --example sql -- demo-output/model examples/data/digits/mixed.parquet

use datafusion::prelude::SessionContext;
use dismax::model::Model;
use dismax_udfs::Models;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(input)) = (arguments.next(), arguments.next()) else {
        return Err("usage: sql MODEL INPUT".into());
    };
    // Any DataFusion session will do; this one takes files as tables.
    let session = dismax_udfs::with_file_tables(SessionContext::new());
    dismax_udfs::register(&session, Models::new().with("digits", Model::read(model)?))?;

    let groups = format!(
        "SELECT source, count(*) AS rows, avg(dismax_confidence(image)) AS confidence, \
         avg(CASE WHEN dismax_is_ood(image) THEN 1.0 ELSE 0.0 END) AS flagged \
         FROM '{input}' WHERE dismax_error(image) IS NULL GROUP BY source ORDER BY flagged DESC"
    );
    session.sql(&groups).await?.show().await?;

    // However often the image is mentioned, the plan has one scoring node.
    session.sql(&format!("EXPLAIN FORMAT INDENT {groups}")).await?.show().await?;
    Ok(())
}
