//! Keeps the rows of a dataset that a model knows and is sure of, and puts the others aside.
//!
//!     cargo run --example filter -- demo-output/model examples/data/digits/mixed.parquet known.parquet rest.parquet

use std::sync::Arc;

use dismax::cancel::Cancel;
use dismax::columns::Columns;
use dismax::dataset::Dataset;
use dismax::filter::{FilterOptions, Keep, filter_to};
use dismax::model::Model;
use dismax::run::Run;
use dismax::stage::{Stage, StageOptions};
use dismax_udfs::SqlPredicate;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, input, known, rest] = arguments.as_slice() else {
        return Err("usage: filter MODEL INPUT KNOWN REST".into());
    };
    let stage = Stage::try_new(Model::read(model)?, &StageOptions::default())?;
    let dataset = Dataset::open(&[input])?;
    let scored = Columns::try_new(&stage, "")?.schema(dataset.schema())?;
    let predicate = SqlPredicate::try_new("confidence > 0.9", dataset.schema(), &scored)?;
    let options = FilterOptions {
        predicate: Some(Arc::new(predicate)),
        rejected: Some(rest.clone()),
        columns: true,
        ..FilterOptions::new(Keep::InDist)
    };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
    let summary = filter_to(&stage, &dataset, known, &options, &mut run)?;
    println!("{} of {} rows kept, {} flagged, {} broken", summary.kept, summary.rows, summary.flagged, summary.failed);
    Ok(())
}
