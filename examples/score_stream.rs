//! Streams a dataset through a model and prints the most unfamiliar rows.
//!
//!     cargo run --example score_stream -- demo-output/model examples/data/digits/mixed.parquet

use arrow::array::AsArray;
use arrow::datatypes::Float32Type;
use dismax::columns::Columns;
use dismax::dataset::Dataset;
use dismax::model::Model;
use dismax::stage::{Stage, StageOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(input)) = (arguments.next(), arguments.next()) else {
        return Err("usage: score_stream MODEL INPUT".into());
    };
    let model = Model::read(model)?;
    let stage = Stage::new(&model, &StageOptions::default())?;
    let dataset = Dataset::open(&[input])?;
    let columns = Columns::new(&model, "")?;
    let schema = columns.schema(dataset.schema())?;

    let mut rows = Vec::new();
    let chunks = dataset.read(stage.chunk_rows(&dataset), None)?;
    for scored in stage.score(stage.image_column(&dataset)?, chunks) {
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
