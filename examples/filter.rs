//! Keeps the rows of a dataset that a model knows and is sure of, and puts the others aside.
//!
//!     cargo run --example filter -- demo-output/model examples/data/digits/mixed.parquet known.parquet rest.parquet

use dismax::cancel::Cancel;
use dismax::dataset::Dataset;
use dismax::model::Model;
use dismax::stage::{Stage, StageOptions};
use dismax_udfs::filter::{FilterOptions, Keep, filter_to};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, input, known, rest] = arguments.as_slice() else {
        return Err("usage: filter MODEL INPUT KNOWN REST".into());
    };
    let model = Model::read(model)?;
    let stage = Stage::new(&model, &StageOptions::default())?;
    let dataset = Dataset::open(&[input])?;
    let options = FilterOptions {
        predicate: Some("confidence > 0.9".into()),
        rejected: Some(rest.clone()),
        columns: true,
        ..FilterOptions::new(Keep::Id)
    };
    let summary = filter_to(&model, &stage, &dataset, known, &options, &Cancel::default(), &mut |_, _| ())?;
    println!("{} of {} rows kept, {} flagged, {} broken", summary.kept, summary.rows, summary.flagged, summary.failed);
    Ok(())
}
