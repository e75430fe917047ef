//! What comes out of the stage for one record batch.

use std::time::Duration;

use crate::calibration::{Calibration, Verdict};
use crate::dataset::Source;
use crate::error::{RowError, RowErrorCode};
use crate::image::Inspection;
use crate::score::{self, RowScores};

/// Time that a worker spent on a record batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Loading, decoding and resizing.
    pub decode: Duration,
    /// The network; on a GPU with the wait for other workers' images.
    pub network: Duration,
}

/// What was seen of an image while it was decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// Of its pixels.
    pub image: Inspection,
    /// Of its file.
    pub source: Source,
}

/// Logits of a record batch, row by row, or why a row has none.
#[derive(Debug, Clone, Default)]
pub struct Scored {
    rows: Vec<Result<(), RowError>>,
    logits: Vec<f32>,
    classes: usize,
    timing: Timing,
    /// One for each row, or none at all where the stage does not inspect.
    inspected: Vec<Option<Inspected>>,
}

impl Scored {
    /// `logits [N, C]` row-major; those of failed rows are not looked at.
    pub(super) fn new(rows: Vec<Result<(), RowError>>, logits: Vec<f32>, classes: usize, timing: Timing) -> Self {
        Self { rows, logits, classes, timing, inspected: Vec::new() }
    }

    /// With what was seen of each row's image.
    pub(super) fn with_inspected(self, inspected: Vec<Option<Inspected>>) -> Self {
        Self { inspected, ..self }
    }

    /// What was seen of a row's image; none where the image could not be decoded, the stage does not inspect
    /// ([`StageOptions::inspect`](super::StageOptions::inspect)) or the rows were gathered.
    pub fn inspection(&self, row: usize) -> Option<&Inspected> {
        self.inspected.get(row).and_then(Option::as_ref)
    }

    /// Rows of other record batches of the same model, in this order, as if they had been scored together. They cost nothing
    /// again: the timing is zero.
    pub fn gather<'a>(rows: impl IntoIterator<Item = (&'a Self, usize)>) -> Self {
        let mut gathered = Self::default();
        for (from, row) in rows {
            gathered.classes = from.classes;
            let outcome = from.logits(row).map(|logits| gathered.logits.extend_from_slice(logits));
            if outcome.is_err() {
                gathered.logits.resize(gathered.logits.len() + from.classes, 0.0);
            }
            gathered.rows.push(outcome);
        }
        gathered
    }

    /// What the record batch cost a worker.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// For each row whether it has logits.
    pub fn rows(&self) -> &[Result<(), RowError>] {
        &self.rows
    }

    /// Logits `[C]` of a row, before temperature.
    ///
    /// # Errors
    /// Why it has none.
    pub fn logits(&self, row: usize) -> Result<&[f32], RowError> {
        match self.rows.get(row) {
            Some(Ok(())) => Ok(&self.logits[row * self.classes..(row + 1) * self.classes]),
            Some(Err(error)) => Err(error.clone()),
            None => Err(RowError::new(RowErrorCode::NonFiniteScore, format!("there is no row {row}"))),
        }
    }

    /// Probabilities (written to `probabilities [C]`), scores and flag of a row.
    ///
    /// # Errors
    /// Why the row has none.
    pub fn judge(
        &self,
        row: usize,
        calibration: &Calibration,
        probabilities: &mut [f32],
    ) -> Result<(RowScores, Verdict), RowError> {
        let scores = score::row(self.logits(row)?, calibration.temperature, calibration.score, probabilities);
        if !scores.is_finite() {
            return Err(RowError::new(RowErrorCode::NonFiniteScore, "the network gave a value that is not finite"));
        }
        let verdict = calibration.verdict(scores.class, scores.score)?;
        Ok((scores, verdict))
    }
}
