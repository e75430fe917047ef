//! Threads that feed GPUs: batches come from the workers that decode, logits go back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::channel::{Receiver, Sender};
use tch::Tensor;

use super::stats::BusyClock;
use crate::error::{Error, Result};
use crate::network::Scorer;

/// Threads for each device, which share its weights. While one waits for its logits, the next batch is queued on the
/// device already: its copy and its kernels begin without the host.
pub(super) const LANES_PER_DEVICE: usize = 2;

/// Preprocessed images in pinned memory and where their logits go.
#[derive(Debug)]
pub(super) struct DeviceJob {
    /// `[B * H * W * 3]` u8.
    pub pixels: Tensor,
    pub answer: Sender<Result<Vec<f32>>>,
}

/// One thread's hold on a device.
#[derive(Debug)]
pub(super) struct Lane {
    pub scorer: Scorer,
    /// Most rows that the device has memory for, as far as is known.
    pub most_rows: Arc<AtomicUsize>,
    pub busy: Arc<BusyClock>,
}

impl Lane {
    /// Answers jobs until no worker is left.
    pub fn run(self, jobs: &Receiver<DeviceJob>) {
        for job in jobs {
            let logits = self.busy.during(|| self.logits(&job.pixels));
            // The worker that asked may be gone with its stream.
            let _ = job.answer.send(logits);
        }
    }

    fn logits(&self, pixels: &Tensor) -> Result<Vec<f32>> {
        let bytes = self.scorer.image_bytes() as i64;
        let rows = pixels.numel() as i64 / bytes;
        in_parts(rows as usize, &self.most_rows, |first, count| {
            let part = pixels.f_narrow(0, first as i64 * bytes, count as i64 * bytes)?;
            self.scorer.logits_of(&part)
        })
    }
}

/// Logits of all rows, in parts of at most `most` rows. Where the device has too little memory for a part, this one and
/// all later ones are halved; a single row that does not fit is an error.
fn in_parts(rows: usize, most: &AtomicUsize, score: impl Fn(usize, usize) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
    let (mut logits, mut first) = (Vec::new(), 0);
    while first < rows {
        let count = most.load(Ordering::Relaxed).clamp(1, rows - first);
        match score(first, count) {
            Ok(values) => {
                logits.extend(values);
                first += count;
            }
            Err(error) if count > 1 && is_out_of_memory(&error) => {
                let half = count.div_ceil(2);
                most.fetch_min(half, Ordering::Relaxed);
                log::warn!("the device has too little memory for {count} images at once; going on with {half}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(logits)
}

/// libtorch tells it in words alone; cuDNN says that no engine was found where none had room for its workspace.
fn is_out_of_memory(error: &Error) -> bool {
    let text = error.to_string();
    ["out of memory", "unable to find an engine", "_STATUS_ALLOC_FAILED"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_memory() -> Error {
        Error::from(tch::TchError::Torch("CUDA out of memory. Tried to allocate 2.00 GiB".into()))
    }

    #[test]
    fn too_little_memory_halves_this_and_later_batches() {
        let most = AtomicUsize::new(256);
        let tried = std::cell::RefCell::new(Vec::new());
        let score = |first: usize, count: usize| {
            tried.borrow_mut().push(count);
            match count > 70 {
                true => Err(no_memory()),
                false => Ok((first..first + count).map(|row| row as f32).collect()),
            }
        };
        let expected: Vec<f32> = (0..200).map(|row| row as f32).collect();
        assert_eq!(in_parts(200, &most, score).expect("logits"), expected);
        assert_eq!(*tried.borrow(), [200, 100, 50, 50, 50, 50]);
        tried.borrow_mut().clear();
        assert_eq!(in_parts(60, &most, score).expect("logits"), expected[..60]);
        assert_eq!(*tried.borrow(), [50, 10]);
    }

    #[test]
    fn one_row_that_does_not_fit_and_other_errors_are_errors() {
        let most = AtomicUsize::new(8);
        assert!(in_parts(8, &most, |_, _| Err(no_memory())).is_err());
        assert_eq!(most.load(Ordering::Relaxed), 1);
        let most = AtomicUsize::new(8);
        assert!(in_parts(8, &most, |_, _| Err(Error::Internal("another".into()))).is_err());
        assert_eq!(most.load(Ordering::Relaxed), 8, "it does not count as too little memory");
    }
}
