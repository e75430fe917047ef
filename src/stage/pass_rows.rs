//! How many rows a device takes in one pass, as far as its memory goes.

use crate::error::{Error, Result};

/// Passes without trouble after which a device that had too little memory is asked for more again: others may have
/// given theirs back.
const PASSES_UNTIL_GROWTH: usize = 100;
/// Step between the sizes of passes. Few sizes, because the kernels of each are searched for once.
const BUCKET_STEP: usize = 4;
/// Sizes of passes: the whole slot, a fourth and a sixteenth.
const BUCKETS: u32 = 3;

/// Rows of a pass over `rows` images of a slot of `capacity`: the smallest of a few sizes that holds them. The rows
/// beyond are computed for nothing.
pub(super) fn bucket(rows: usize, capacity: usize) -> usize {
    let sizes = (0..BUCKETS).rev().map(|step| capacity / BUCKET_STEP.pow(step));
    sizes.into_iter().find(|&size| size >= rows).unwrap_or(capacity)
}

/// Most rows that a device is known to have memory for.
#[derive(Debug)]
pub(super) struct PassRows {
    most: usize,
    capacity: usize,
    /// Passes since the device last had too little memory.
    passes: usize,
}

impl PassRows {
    pub fn new(capacity: usize) -> Self {
        Self { most: capacity, capacity, passes: 0 }
    }

    /// What `compute(first, count)` makes of all rows, in parts of as many as fit. Where the device has too little
    /// memory for a part, this one and later ones are halved; they grow again after a while. A single row that does
    /// not fit is an error.
    pub fn in_parts<T>(&mut self, rows: usize, mut compute: impl FnMut(usize, usize) -> Result<T>) -> Result<Vec<T>> {
        if self.most < self.capacity && self.passes >= PASSES_UNTIL_GROWTH {
            (self.most, self.passes) = ((2 * self.most).min(self.capacity), 0);
        }
        let (mut parts, mut first) = (Vec::new(), 0);
        while first < rows {
            let count = self.most.clamp(1, rows - first);
            match compute(first, count) {
                Ok(part) => {
                    parts.push(part);
                    first += count;
                }
                Err(error) if count > 1 && is_out_of_memory(&error) => {
                    (self.most, self.passes) = (count.div_ceil(2), 0);
                    log::debug!("the device has too little memory for {count} images at once; trying {}", self.most);
                }
                Err(error) => return Err(error),
            }
        }
        self.passes += 1;
        Ok(parts)
    }
}

/// libtorch tells it in words alone; cuDNN says that no engine was found where none had room for its workspace.
fn is_out_of_memory(error: &Error) -> bool {
    let text = error.to_string();
    ["out of memory", "nable to find an engine", "_STATUS_ALLOC_FAILED"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_memory(words: &str) -> Error {
        Error::from(tch::TchError::Torch(words.into()))
    }

    #[test]
    fn passes_have_few_sizes() {
        let sizes = [1, 64, 65, 256, 257, 1000, 1024].map(|rows| bucket(rows, 1024));
        assert_eq!(sizes, [64, 64, 256, 256, 1024, 1024, 1024]);
        assert_eq!([1, 2, 5].map(|rows| bucket(rows, 5)), [1, 5, 5]);
        assert_eq!(bucket(1, 1), 1);
    }

    #[test]
    fn too_little_memory_halves_and_later_grows_again() {
        let (mut limit, mut memory, mut tried) = (PassRows::new(256), 70, Vec::new());
        let mut pass = |rows: usize, memory: usize, words: &str| {
            tried.clear();
            let parts = limit.in_parts(rows, |first, count| {
                tried.push(count);
                if count > memory { Err(no_memory(words)) } else { Ok(first..first + count) }
            });
            let rows: Vec<usize> = parts.expect("logits").into_iter().flatten().collect();
            (rows, tried.clone())
        };
        let out = "CUDA out of memory. Tried to allocate 2.00 GiB";
        assert_eq!(pass(200, memory, out), ((0..200).collect(), vec![200, 100, 50, 50, 50, 50]));
        assert_eq!(pass(60, memory, out).1, [50, 10]);
        // The memory of another process becomes free; it shows after a while.
        memory = 256;
        let first: Vec<Vec<usize>> = (0..300).map(|_| pass(256, memory, out).1).collect();
        assert_eq!(
            (&first[0][..2], &first[150][..2], &first[250][..2]),
            (&[50, 50][..], &[100, 100][..], &[200, 56][..])
        );
        assert_eq!(pass(256, memory, out).1, [256]);
        // Other words for the same.
        for words in ["Unable to find an engine to execute this computation", "CUBLAS_STATUS_ALLOC_FAILED"] {
            let (mut limit, mut tried) = (PassRows::new(8), 0);
            let parts = limit.in_parts(8, |_, count| {
                tried += 1;
                if count > 4 { Err(no_memory(words)) } else { Ok(()) }
            });
            assert_eq!((parts.expect("logits").len(), tried), (2, 3), "{words}");
        }
    }

    #[test]
    fn one_row_that_does_not_fit_and_other_errors_are_errors() {
        let mut limit = PassRows::new(8);
        assert!(limit.in_parts(8, |_, _| Err::<(), _>(no_memory("out of memory"))).is_err());
        assert_eq!(limit.most, 1);
        let mut limit = PassRows::new(8);
        assert!(limit.in_parts(8, |_, _| Err::<(), _>(Error::Internal("another".into()))).is_err());
        assert_eq!(limit.most, 8, "it does not count as too little memory");
    }
}
