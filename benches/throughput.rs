//! What `benches/compare` measures of this crate alone: the bare network, and decoding.
//!
//!     cargo bench --bench throughput -- network MODEL [--device cpu] [--batch 8] [--workers 2] [--seconds 5]
//!     cargo bench --bench throughput -- decode PHOTOS.parquet [--image COLUMN] [--seconds 5]
//!
//! Prints one line of JSON: images, and the seconds they took.

use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use dismax::dataset::{Dataset, LoadOptions};
use dismax::image::{Preprocessing, ReusableResizer};
use dismax::model::Model;
use dismax::{Device, Error, Result};
use serde_json::json;

/// What one program of `benches/compare` measures.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Given by `cargo bench`.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The network on pixels that lie in memory, one for each worker.
    Network {
        model: PathBuf,
        #[arg(long, default_value_t = 8)]
        batch: usize,
        #[arg(long, default_value_t = 2)]
        workers: usize,
        /// A GPU takes one worker, and its pixels lie on it.
        #[arg(long, default_value_t = Device::Cpu)]
        device: Device,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Reading a dataset's rows on one thread.
    Read {
        input: String,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Decoding and resizing as new networks for photographs take it, on one core.
    Decode {
        input: String,
        #[arg(long)]
        image: Option<String>,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
}

fn main() -> Result<()> {
    let (images, elapsed) = match Args::parse().what {
        What::Network { model, batch, workers, device: Device::Cpu, seconds } => {
            network(&model, batch, workers, seconds)?
        }
        What::Network { model, batch, device, seconds, .. } => network_on(device, &model, batch, seconds)?,
        What::Read { input, seconds } => read(&input, seconds)?,
        What::Decode { input, image, seconds } => decode(&input, image.as_deref(), seconds)?,
    };
    println!("{}", json!({ "images": images, "seconds": elapsed.as_secs_f64() }));
    Ok(())
}

fn network(model: &PathBuf, batch: usize, workers: usize, seconds: f64) -> Result<(usize, Duration)> {
    let model = Model::read(model)?;
    let size = model.input().images().expect("a model of images").preprocessing.image_bytes();
    let pixels: Vec<u8> = (0..batch * size).map(|index| (index * 31 % 251) as u8).collect();
    let first = model.scorer(tch::Device::Cpu)?;
    first.logits(&pixels)?;
    let scorers = (0..workers).map(|_| first.share()).collect::<Vec<_>>();
    let start = Barrier::new(workers);
    let passes = thread::scope(|scope| {
        let (pixels, start) = (&pixels, &start);
        let workers: Vec<_> = scorers
            .into_iter()
            .map(|scorer| {
                scope.spawn(move || -> Result<(usize, Duration)> {
                    tch::set_num_threads(1);
                    for _ in 0..3 {
                        scorer.logits(pixels)?;
                    }
                    start.wait();
                    until(seconds, || scorer.logits(pixels).map(drop))
                })
            })
            .collect();
        let gone = |_| Error::Internal("a worker panicked".into());
        workers.into_iter().map(|worker| worker.join().map_err(gone)?).collect::<Result<Vec<_>>>()
    })?;
    let longest = passes.iter().map(|(_, elapsed)| *elapsed).max().unwrap_or_default();
    Ok((passes.iter().map(|(count, _)| count * batch).sum(), longest))
}

/// Passes that may be queued on the device.
const QUEUED: usize = 10;

fn network_on(device: Device, model: &PathBuf, batch: usize, seconds: f64) -> Result<(usize, Duration)> {
    let device = device.resolve()?;
    if device.is_cuda() {
        tch::Cuda::cudnn_set_benchmark(true);
    }
    let model = Model::read(model)?;
    let scorer = model.scorer(device)?;
    let size = model.input().images().expect("a model of images").preprocessing.image_bytes();
    let pixels: Vec<u8> = (0..batch * size).map(|index| (index * 31 % 251) as u8).collect();
    let pixels = tch::Tensor::f_from_slice(&pixels)?.f_to_device(device)?;
    let passes = || -> Result<()> {
        let mut logits = None;
        for _ in 0..QUEUED {
            logits = Some(scorer.values_on_device(&pixels, false)?);
        }
        // Only this waits for the device.
        let _ = logits.map(|logits| logits.f_to_device(tch::Device::Cpu)).transpose()?;
        Ok(())
    };
    passes()?;
    let (times, elapsed) = until(seconds, passes)?;
    Ok((times * QUEUED * batch, elapsed))
}

fn read(input: &str, seconds: f64) -> Result<(usize, Duration)> {
    let data = Dataset::open(&[input])?;
    let mut rows = 0;
    let (_, elapsed) = until(seconds, || {
        for chunk in data.read(64, None)? {
            rows += chunk?.record_batch.num_rows();
        }
        Ok(())
    })?;
    Ok((rows, elapsed))
}

fn decode(input: &str, image: Option<&str>, seconds: f64) -> Result<(usize, Duration)> {
    let data = Dataset::open(&[input])?;
    let column = data.image_column(image)?;
    let preprocessing = Preprocessing { orientation: true, reduced: true, ..Preprocessing::imagenet() };
    let options = LoadOptions { decoding: preprocessing.decoding(), ..LoadOptions::default() };
    let mut chunks = Vec::new();
    for chunk in data.read(64, None)?.take(5) {
        chunks.push(chunk?.record_batch);
    }
    let rows: usize = chunks.iter().map(arrow::array::RecordBatch::num_rows).sum();
    let mut resizer = ReusableResizer::default();
    let mut out = vec![0u8; preprocessing.image_bytes()];
    let mut all = || -> Result<()> {
        for record_batch in &chunks {
            let images = column.images_in(record_batch)?;
            for row in 0..record_batch.num_rows() {
                let pixels = options.load(&images, row);
                let written = pixels.and_then(|pixels| preprocessing.apply_into(&pixels, &mut resizer, &mut out));
                written.map_err(|error| Error::data(input, error.to_string()))?;
            }
        }
        Ok(())
    };
    all()?;
    let (times, elapsed) = until(seconds, all)?;
    Ok((times * rows, elapsed))
}

/// How often `work` was done until the time was over.
fn until(seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<(usize, Duration)> {
    let (start, mut times) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        work()?;
        times += 1;
    }
    Ok((times, start.elapsed()))
}
