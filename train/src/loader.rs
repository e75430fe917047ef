//! Makes the training batches of an epoch ahead of the device: augmentation and mix, on threads of their own.

use std::collections::VecDeque;
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::augment::{Augmentation, Augmenter};
use super::data::{Example, Examples};
use super::error::TrainError;
use super::mix::{mix_labels, mix_quadrants, plain_rows};
use dismax::error::Result;

/// What one worker computes one gradient from.
#[derive(Debug, Clone, Default)]
pub struct TrainingBatch {
    /// `[B, H, W, 3]` u8: first the plain images, then the mixed ones.
    pub pixels: Vec<u8>,
    /// Classes of the plain images.
    pub labels: Vec<i64>,
    /// Classes of the mixed images' quadrants, one after the other: `[B - plain, 4]`.
    pub mixed_labels: Vec<i64>,
}

impl TrainingBatch {
    /// Plain and mixed images together.
    pub fn rows(&self) -> usize {
        self.labels.len() + self.mixed_labels.len() / 4
    }
}

/// How an epoch is cut into batches.
#[derive(Debug, Clone, Copy)]
pub struct BatchPlan {
    /// Examples in the epoch.
    pub rows: usize,
    /// Optimiser steps in the epoch.
    pub steps: usize,
    /// Ghost batches that each step is cut into.
    pub ghosts: usize,
}

impl BatchPlan {
    /// As few steps as keep every batch within `batch_size`. Sizes differ by at most one row, so there is no short
    /// last batch and no row is left out.
    pub fn new(rows: usize, batch_size: usize, ghosts: usize) -> Self {
        Self { rows, steps: rows.div_ceil(batch_size.max(1)).max(1), ghosts }
    }

    /// The same with batches of one size, for devices that look for new kernels at every new size. The last rows of an
    /// epoch's random order, fewer than there are steps, are left out of it.
    pub fn equal(rows: usize, batch_size: usize) -> Self {
        let plan = Self::new(rows, batch_size, 1);
        Self { rows: rows / plan.steps * plan.steps, ..plan }
    }

    /// Where step `step` begins in the epoch.
    pub fn first_row(&self, step: usize) -> usize {
        self.rows * step / self.steps
    }

    /// Rows of ghost batch `ghost` in step `step`.
    pub fn rows_of(&self, step: usize, ghost: usize) -> usize {
        let batch = share(self.rows, self.steps, step);
        share(batch, self.ghosts, ghost)
    }

    /// Smallest number of rows that any ghost batch has in any step.
    pub fn min_rows(&self) -> usize {
        self.rows / self.steps / self.ghosts
    }
}

/// Size of part `index` of `total` cut into `parts` nearly equal parts.
fn share(total: usize, parts: usize, index: usize) -> usize {
    total * (index + 1) / parts - total * index / parts
}

/// What the loader does to every example.
#[derive(Debug, Clone, Copy)]
pub struct Preparation {
    /// Random changes.
    pub augmentation: Augmentation,
    /// Height and width that the network wants.
    pub target: (u32, u32),
    /// Share of each ghost batch that is mixed: its last rows.
    pub mixed_share: f64,
    /// Fixes all random choices.
    pub seed: u64,
}

/// The random numbers of the example at `position` in an epoch: the same whatever the batch size and the number of
/// ghost batches.
pub fn example_rng(seed: u64, epoch: usize, position: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (epoch as u64).rotate_left(32));
    rng.set_stream(position);
    rng
}

/// Sends the ghost batches of epoch `epoch`, step after step, until done or nobody listens. `threads`
/// change the images; reading them stays on this one.
pub fn load_epoch(
    examples: &dyn Examples,
    plan: BatchPlan,
    preparation: Preparation,
    (epoch, threads): (usize, usize),
    batches: &Sender<Result<TrainingBatch>>,
) {
    thread::scope(|scope| {
        let (tasks, queue) = bounded::<(RawBatch<'_>, Sender<Result<TrainingBatch>>)>(threads);
        for _ in 0..threads {
            let queue = queue.clone();
            let mut augmenter = Augmenter::new(preparation.augmentation, examples.size(), preparation.target);
            scope.spawn(move || {
                for (batch, answer) in queue {
                    // Nobody listens after an error.
                    let _ = answer.send(batch.prepare(&mut augmenter, preparation, epoch));
                }
            });
        }
        drop(queue);
        let mut in_flight = VecDeque::new();
        let mut stream = examples.epoch(epoch);
        let mut position = 0;
        for (step, ghost) in (0..plan.steps).flat_map(|step| (0..plan.ghosts).map(move |ghost| (step, ghost))) {
            let batch = RawBatch::read(&mut stream, plan.rows_of(step, ghost), &mut position);
            let (answer, prepared) = bounded(1);
            in_flight.push_back(prepared);
            match batch {
                Ok(batch) => {
                    let sent = tasks.send((batch, answer));
                    sent.expect("the threads take tasks as long as this one sends them");
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                    break;
                }
            }
            if in_flight.len() > threads && !hand_on(&mut in_flight, batches) {
                return;
            }
        }
        while !in_flight.is_empty() && hand_on(&mut in_flight, batches) {}
    });
}

/// Sends the oldest batch on. False after an error and where nobody listens.
fn hand_on(in_flight: &mut VecDeque<Receiver<Result<TrainingBatch>>>, batches: &Sender<Result<TrainingBatch>>) -> bool {
    let Some(Ok(batch)) = in_flight.pop_front().map(|prepared| prepared.recv()) else { return false };
    let is_whole = batch.is_ok();
    batches.send(batch).is_ok() && is_whole
}

/// The examples of a batch as they are stored.
struct RawBatch<'a> {
    examples: Vec<Example<'a>>,
    /// Of the first in the epoch.
    position: u64,
}

impl<'a> RawBatch<'a> {
    fn read(
        stream: &mut (dyn Iterator<Item = Result<Example<'a>>> + Send + 'a),
        rows: usize,
        position: &mut u64,
    ) -> Result<Self> {
        let next = |_| stream.next().ok_or_else(|| dismax::Error::from(TrainError::DataChanged))?;
        let batch = Self { examples: (0..rows).map(next).collect::<Result<_>>()?, position: *position };
        *position += rows as u64;
        Ok(batch)
    }

    fn prepare(self, augmenter: &mut Augmenter, preparation: Preparation, epoch: usize) -> Result<TrainingBatch> {
        let (height, width) = (preparation.target.0 as usize, preparation.target.1 as usize);
        let (size, rows) = (height * width * 3, self.examples.len());
        let mut batch = TrainingBatch { pixels: vec![0; rows * size], ..TrainingBatch::default() };
        let mut labels = Vec::with_capacity(rows);
        for ((position, example), out) in (self.position..).zip(&self.examples).zip(batch.pixels.chunks_exact_mut(size))
        {
            let mut rng = example_rng(preparation.seed, epoch, position);
            let turn = preparation.augmentation.flip().is_turn(preparation.seed, example.row, epoch);
            augmenter.apply(&example.pixels, turn, &mut rng, out)?;
            labels.push(i64::from(example.label));
        }
        let plain = plain_rows(rows, preparation.mixed_share);
        if plain < rows {
            mix_quadrants(&mut batch.pixels[plain * size..], height, width, 3);
            batch.mixed_labels = mix_labels(&labels[plain..]).concat();
            labels.truncate(plain);
        }
        batch.labels = labels;
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{InMemory, LabelledImages};

    fn epoch(count: usize, batch_size: usize, workers: usize, mixed: bool) -> Vec<TrainingBatch> {
        epoch_on(1, count, batch_size, workers, mixed)
    }

    fn epoch_on(threads: usize, count: usize, batch_size: usize, workers: usize, mixed: bool) -> Vec<TrainingBatch> {
        let images = LabelledImages {
            pixels: (0..count).flat_map(|row| vec![row as u8; 12]).collect(),
            labels: (0..count as u32).collect(),
            height: 2,
            width: 2,
        };
        let examples = InMemory::new(images, 1);
        let plan = BatchPlan::new(count, batch_size, workers);
        let (sender, receiver) = crossbeam::channel::unbounded();
        let preparation = Preparation {
            augmentation: Augmentation::None,
            target: (2, 2),
            mixed_share: if mixed { 0.5 } else { 0.0 },
            seed: 1,
        };
        load_epoch(&examples, plan, preparation, (0, threads), &sender);
        drop(sender);
        receiver.iter().collect::<Result<_>>().unwrap()
    }

    #[test]
    fn every_row_comes_once_and_batches_are_even() {
        for (count, batch_size, workers) in [(10, 4, 1), (10, 4, 2), (7, 3, 2), (5, 64, 2), (1, 1, 1)] {
            let batches = epoch(count, batch_size, workers, false);
            let mut labels: Vec<i64> = batches.iter().flat_map(|batch| batch.labels.clone()).collect();
            labels.sort_unstable();
            assert_eq!(labels, (0..count as i64).collect::<Vec<_>>());
            let sizes: Vec<usize> = batches.chunks(workers).map(|step| step.iter().map(|b| b.rows()).sum()).collect();
            assert!(sizes.iter().all(|&size| size <= batch_size), "{sizes:?}");
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        }
    }

    #[test]
    fn equal_batches_leave_out_fewer_rows_than_steps() {
        for (rows, batch_size) in [(45_000, 512), (10, 4), (7, 3), (5, 64), (1, 1)] {
            let plan = BatchPlan::equal(rows, batch_size);
            let sizes: Vec<usize> = (0..plan.steps).map(|step| plan.rows_of(step, 0)).collect();
            assert!(sizes.iter().all(|&size| size == sizes[0] && size <= batch_size), "{sizes:?}");
            assert!(rows - sizes.iter().sum::<usize>() < plan.steps);
        }
    }

    #[test]
    fn the_number_of_ghost_batches_changes_neither_order_nor_pixels() {
        let join = |batches: Vec<TrainingBatch>| -> Vec<u8> { batches.into_iter().flat_map(|b| b.pixels).collect() };
        assert_eq!(join(epoch(11, 4, 1, false)), join(epoch(11, 4, 2, false)));
    }

    #[test]
    fn threads_change_neither_order_nor_pixels() {
        let bytes = |batch: TrainingBatch| (batch.pixels, batch.labels, batch.mixed_labels);
        let all = |threads| epoch_on(threads, 203, 10, 1, true).into_iter().map(bytes).collect::<Vec<_>>();
        assert_eq!(all(1), all(4));
    }

    #[test]
    fn the_second_half_is_mixed_and_keeps_its_labels() {
        let batches = epoch(16, 8, 1, true);
        assert_eq!(batches.len(), 2);
        for batch in batches {
            assert_eq!((batch.labels.len(), batch.mixed_labels.len(), batch.rows()), (4, 16, 8));
            for (image, labels) in batch.pixels.chunks(12).skip(4).zip(batch.mixed_labels.chunks(4)) {
                // Pixels are top left, top right, bottom left, bottom right; labels 0, -1, -2, -3.
                let quadrants: Vec<i64> = image.chunks(3).map(|pixel| i64::from(pixel[0])).collect();
                assert_eq!(quadrants, [labels[0], labels[2], labels[1], labels[3]]);
            }
        }
    }
}
