//! Streams a dataset through a model and prints the most unfamiliar rows.
//!
//!     cargo run --example score_stream -- demo-output/model examples/data/digits/mixed.parquet

use arrow::array::AsArray;
use arrow::datatypes::Float32Type;
use dismax::cancel::Cancel;
use dismax::stage::StageOptions;
use dismax::{Columns, Dataset, Model, Stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(input)) = (arguments.next(), arguments.next()) else {
        return Err("usage: score_stream MODEL INPUT".into());
    };
    let stage = Stage::try_new(Model::read(model)?, &StageOptions::default())?;
    let dataset = Dataset::open(&[input])?;
    let columns = Columns::try_new(&stage, "")?;
    let schema = columns.schema(dataset.schema())?;

    let mut rows = Vec::new();
    for scored in stage.scan(&dataset, None, Cancel::default())? {
        let (chunk, scored) = scored?;
        let record_batch = columns.append(&chunk.record_batch, &scored, &schema)?;
        let scores = record_batch["ood_score"].as_primitive::<Float32Type>();
        rows.extend((chunk.first_row..).zip(scores).filter_map(|(row, score)| Some((score?, row))));
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (score, row) in rows.iter().take(10) {
        println!("row {row:>5}  ood_score {score:.3}");
    }
    Ok(())
}
