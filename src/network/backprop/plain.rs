//! Of plain networks.

use tch::Tensor;

use super::pair::{self, Kept};
use super::recorded::Recorded;
use super::{WrittenOut, mean, no_gradient, of_mean, rows_of};
use crate::error::Result;
use crate::network::conv::Epilogue;
use crate::network::vgg::Vgg;

/// What the forward pass keeps.
#[derive(Debug)]
pub struct Tape {
    stem: Kept,
    stages: Vec<KeptStage>,
    size: Vec<i64>,
}

#[derive(Debug)]
struct KeptStage {
    first: Kept,
    pool: Recorded,
    second: Kept,
}

impl WrittenOut for Vgg {
    type Tape = Tape;

    fn forward(&self, images: &Tensor) -> Result<(Tensor, Tape)> {
        let (mut x, stem) = pair::forward_images(&self.stem, &rows_of(images)?, Epilogue::Relu)?;
        let mut stages = Vec::new();
        for stage in &self.stages {
            let (wide, first) = pair::forward(&stage.first, &x, Epilogue::Relu)?;
            let pool = Recorded::new(&wide, true, &[], Self::pool)?;
            let (output, second) = pair::forward(&stage.second, &pool.output()?, Epilogue::Relu)?;
            x = output;
            stages.push(KeptStage { first, pool, second });
        }
        Ok((mean(&x)?, Tape { stem, stages, size: x.size() }))
    }

    fn backward(&self, tape: Tape, features: &Tensor) -> Result<Vec<Tensor>> {
        let mut gradient = of_mean(features, &tape.size)?;
        let mut stages = Vec::new();
        for (stage, kept) in self.stages.iter().zip(tape.stages).rev() {
            let (input, of_second) = pair::backward(&stage.second, kept.second, &mut gradient)?;
            gradient = kept.pool.backward(&input.ok_or_else(no_gradient)?)?.pop().ok_or_else(no_gradient)?;
            let (input, of_first) = pair::backward(&stage.first, kept.first, &mut gradient)?;
            gradient = input.ok_or_else(no_gradient)?;
            stages.push(of_first.into_iter().chain(of_second));
        }
        let mut parameters = Vec::from(pair::backward(&self.stem, tape.stem, &mut gradient)?.1);
        parameters.extend(stages.into_iter().rev().flatten());
        Ok(parameters)
    }
}
