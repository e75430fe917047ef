//! Audits a dataset into a folder with a report and prints what was found.
//!
//!     cargo run --example audit -- demo-output/model examples/data/digits/mixed.parquet /tmp/audit

use std::path::PathBuf;

use clap::Parser;
use dismax::cancel::Cancel;
use dismax::dataset::Dataset;
use dismax::model::Model;
use dismax::run::Run;
use dismax::stage::{Stage, StageOptions};
use dismax_audit::{AuditInputs, AuditOptions, Kind, audit};

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
    let stage = Stage::try_new(Model::read(&args.model)?, &StageOptions::default())?;
    let dataset = Dataset::open(&[&args.input])?;
    let reference = args.reference.map(|reference| Dataset::open(&[reference])).transpose()?;
    let options = AuditOptions { command: "examples/audit.rs".into(), ..AuditOptions::default() };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
    let inputs = AuditInputs { reference: reference.as_ref(), ..AuditInputs::new(&dataset) };
    let summary = audit(&stage, &inputs, &args.out, &options, &mut run)?;
    for kind in Kind::ALL.into_iter().filter(|kind| summary.of(*kind) > 0) {
        println!("{:>5} {kind}", summary.of(kind));
    }
    println!("open {}", args.out.join("report.html").display());
    Ok(())
}
