//! Audits a dataset into a folder with a report and prints what was found.
//!
//!     cargo run --example audit -- demo-output/model examples/data/digits/mixed.parquet /tmp/audit

use std::path::PathBuf;

use clap::Parser;
use dismax::cancel::Cancel;
use dismax::dataset::Dataset;
use dismax::model::Model;
use dismax::stage::{Stage, StageOptions};
use dismax_audit::{AuditOptions, Kind, audit};

/// Audits a dataset.
#[derive(Parser)]
struct Args {
    /// The model's folder.
    model: PathBuf,
    /// The images.
    input: String,
    /// Folder to write.
    out: PathBuf,
    /// Images to look for leaks from and to compare the distributions with.
    #[arg(long)]
    reference: Option<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let model = Model::read(&args.model)?;
    let stage = Stage::new(&model, &StageOptions { inspect: true, ..StageOptions::default() })?;
    let dataset = Dataset::open(&[&args.input])?;
    let reference = args.reference.map(|reference| Dataset::open(&[reference])).transpose()?;
    let options = AuditOptions { command: "examples/audit.rs".into(), ..AuditOptions::default() };
    let cancel = Cancel::default();
    let summary = audit(&model, &stage, &dataset, reference.as_ref(), &args.out, &options, &cancel, &mut |_| ())?;
    for kind in Kind::ALL.into_iter().filter(|kind| summary.of(*kind) > 0) {
        println!("{:>5} {kind}", summary.of(kind));
    }
    println!("open {}", args.out.join("report.html").display());
    Ok(())
}
