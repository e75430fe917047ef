//! Trains a small network on handwritten digits and writes a calibrated bundle.
//!
//!     cargo run --example train -- /tmp/digits-model

use dismax::cancel::Cancel;
use dismax::loss::Loss;
use dismax::network::Architecture;
use dismax::run::Run;
use dismax_train::{Flip, HeldOut, Recipe, TrainEvent, TrainJob, train};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args().nth(1).ok_or("usage: train OUT")?;
    let job = TrainJob {
        held_out: HeldOut::Files(vec!["examples/data/digits/validation.parquet".into()]),
        recipe: Recipe {
            epochs: Some(10),
            flip: Flip::None, // a mirrored digit is another sign
            ..Recipe::new(Architecture::Resnet20, Loss::Dismax)
        },
        ..TrainJob::new(["examples/data/digits/train.parquet"], out)
    };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    let model = train(&job, &mut run, &mut |event| {
        if let TrainEvent::Epoch(record) = event {
            println!("epoch {:>2}: held-out accuracy {:.1} %", record.epoch, 100.0 * record.validation_accuracy);
        }
    })?;
    println!("{} with temperature {:.3}", model.path().display(), model.require_calibration()?.temperature);
    Ok(())
}
