//! How large the pieces are that a dataset is read in.

/// Limits of the record batches that a reading yields: whichever is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Most rows, at least 1.
    pub rows: usize,
    /// Bytes that the decoded rows of a record batch should not exceed. A single row may.
    pub bytes: usize,
}

impl BatchSize {
    /// Bytes of a record batch where the caller names none.
    pub const DEFAULT_BYTES: usize = 256 << 20;
    /// Columns of bytes count them with 32 bits.
    const MAX_BYTES: usize = 1 << 30;

    /// At most `bytes`, and never more than a column of bytes can count.
    pub(super) fn max_bytes(self) -> usize {
        self.bytes.clamp(1, Self::MAX_BYTES)
    }

    /// Rows to take of a record batch of `rows` rows that use `bytes`.
    pub(super) fn rows_of(self, rows: usize, bytes: usize) -> usize {
        let fitting = if bytes <= self.max_bytes() { rows } else { self.max_bytes() / bytes.div_ceil(rows.max(1)) };
        fitting.clamp(1, self.rows.max(1)).min(rows)
    }
}

impl From<usize> for BatchSize {
    /// At most so many rows, within [`BatchSize::DEFAULT_BYTES`].
    fn from(rows: usize) -> Self {
        Self { rows, bytes: Self::DEFAULT_BYTES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_by_rows_and_by_bytes() {
        let size = BatchSize { rows: 64, bytes: 1000 };
        assert_eq!(size.rows_of(100, 1000), 64);
        assert_eq!(size.rows_of(10, 1000), 10);
        assert_eq!(size.rows_of(10, 2000), 5);
        assert_eq!(size.rows_of(10, 2001), 4, "the mean is rounded up");
        assert_eq!(size.rows_of(3, 1 << 40), 1, "a row is never cut");
        assert_eq!(size.rows_of(0, 0), 0);
    }
}
