//! `dismax worker`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dismax::{Error, Result};
use dismax_cluster::{WorkerOptions, serve};

use crate::args::{ImageArgs, StageArgs, bytes};
use crate::cluster::SecurityArgs;
use crate::context::Context;
use crate::exit::Outcome;
use crate::{models, runtime, ui};

pub const EXAMPLES: &str = "\
Examples:
  # Two workers on this machine, and a query on both
  dismax worker --listen 127.0.0.1:7070 --model model &
  dismax worker --listen 127.0.0.1:7071 --model model &
  dismax sql --cluster http://127.0.0.1:7070,http://127.0.0.1:7071 --model model \
    \"SELECT dismax_prediction(img), count(*) FROM 'photos/*.parquet' GROUP BY 1\"
  # For other machines: with a token and a certificate, models by digest from a store, data in a bucket
  dismax worker --listen 0.0.0.0:7070 --token-file token --tls-cert cert.pem --tls-key key.pem --tls-ca ca.pem \
    --model-store s3://bucket/models --allow s3://bucket

A worker reads and writes only in the places of --allow. It prints its address when it can be given work. GET /healthz and
/readyz answer anybody, /metrics (for Prometheus) asks for the token. SIGTERM or Ctrl-C ends it: it takes nothing new, and
what has not ended after 30 seconds goes to other workers. docs/cluster.md has the rest.";

/// Flags of `dismax worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address and port. Port 0 takes one that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,

    /// A model's folder, with the name that coordinators call it [default name: the folder's].
    #[arg(long = "model", value_name = "[NAME=]MODEL")]
    models: Vec<String>,

    /// A folder or address that has models under their digests, for those that the worker lacks.
    #[arg(long, value_name = "PLACE")]
    model_store: Option<String>,

    /// Read and write below this folder or address only [default: the current folder].
    #[arg(long = "allow", value_name = "PLACE")]
    allowed: Vec<String>,

    /// Most memory of queries: sorts, joins and aggregates that need more use the disk or fail. Networks and images at
    /// the threads come on top.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,

    /// Certificate (PEM) that the worker shows.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Key (PEM) of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Reject images with more pixels than this before they are decoded, in queries.
    #[arg(long, value_name = "PIXELS", default_value_t = dismax::image::Limits::default().max_pixels)]
    max_pixels: u64,

    #[command(flatten)]
    security: SecurityArgs,

    #[command(flatten)]
    stage: StageArgs,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    if args.models.is_empty() && args.model_store.is_none() {
        return Err(Error::Config("a worker scores with models: give --model, --model-store or both".into()));
    }
    let images = ImageArgs { image: None, embedding: None, max_pixels: args.max_pixels, read_paths: false };
    let options = WorkerOptions {
        listen: Some(args.listen),
        models: models::named(&args.models)?,
        store: args.model_store.clone(),
        allowed: if args.allowed.is_empty() { vec![".".into()] } else { args.allowed.clone() },
        memory: args.memory,
        stage: args.stage.options(&images),
        security: args.security.read()?,
        tls: args.tls_cert.clone().zip(args.tls_key.clone()),
    };
    let ready = |address: &str| {
        // Whoever started it may not listen.
        let _ = ui::print(address);
    };
    let runtime = runtime()?;
    let served = runtime.block_on(serve(options, context.cancel.clone(), ready));
    // Threads that still wait for a disk or a store are not waited for.
    runtime.shutdown_timeout(Duration::from_secs(2));
    served?;
    Ok(Outcome::Done)
}
