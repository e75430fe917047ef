//! Conformal p-values of in-distribution scores (Bates et al. 2023).
//!
//! The p-value of a score `s` is `(1 + #{calibration scores <= s}) / (n + 1)`. For a row that is exchangeable with the
//! calibration rows the chance of a p-value of at most alpha is at most alpha, whatever the score means and however its
//! values are distributed. The bound is over draws of the calibration rows too: with one fixed calibration set the
//! realised share scatters around it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, RowError, RowErrorCode};

/// In-distribution scores of held-out calibration rows, ascending: not empty and all finite. Serialises as the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f32>", into = "Vec<f32>")]
pub struct ConformalScores {
    sorted: Vec<f32>,
}

/// What the calibration scores say of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Conformal p-value in [1 / (n + 1), 1]: small means out-of-distribution.
    pub p_value: f64,
    /// Whether the p-value is at most alpha.
    pub is_ood: bool,
}

impl ConformalScores {
    /// Takes the in-distribution scores (higher = more in-distribution) of the calibration rows, in any order.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no score or one is not finite.
    pub fn try_new(mut scores: Vec<f32>) -> Result<Self> {
        let fail = |message: String| Err(Error::data("calibration scores", message));
        if scores.is_empty() {
            return fail("there are none: calibrate on at least one row, better on some hundreds".into());
        }
        if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
            return fail(format!("row {row} is not finite: leave rows that failed out"));
        }
        scores.sort_by(f32::total_cmp);
        Ok(Self { sorted: scores })
    }

    /// The scores, ascending.
    pub fn sorted(&self) -> &[f32] {
        &self.sorted
    }

    /// Number of calibration rows, at least 1.
    pub fn rows(&self) -> usize {
        self.sorted.len()
    }

    /// The smallest p-value there can be: `1 / (n + 1)`. An alpha below it flags nothing.
    pub fn smallest_p_value(&self) -> f64 {
        1.0 / (self.rows() as f64 + 1.0)
    }

    /// `(1 + #{calibration scores <= score}) / (n + 1)`, in (0, 1]; small means out-of-distribution.
    ///
    /// # Errors
    /// [`RowErrorCode::NonFiniteScore`]: a NaN compares false with every threshold and must not pass as
    /// in-distribution.
    pub fn p_value(&self, score: f32) -> Result<f64, RowError> {
        if !score.is_finite() {
            return Err(RowError::new(RowErrorCode::NonFiniteScore, format!("the score is {score}")));
        }
        let below = self.sorted.partition_point(|&calibration| calibration <= score);
        Ok(self.p_value_of_rank(below))
    }

    /// P-value and flag of a score. The flag compares in f64: a p-value rounded to f32 may fall on the other side of
    /// alpha.
    ///
    /// # Errors
    /// As [`ConformalScores::p_value`].
    pub fn verdict(&self, score: f32, alpha: f64) -> Result<Verdict, RowError> {
        let p_value = self.p_value(score)?;
        Ok(Verdict { p_value, is_ood: p_value <= alpha })
    }

    /// The largest score that is flagged at `alpha`: `score <= threshold` exactly where [`Verdict::is_ood`] is true.
    /// None where nothing can be flagged (see [`ConformalScores::check_alpha`]); `f32::MAX` where everything is.
    pub fn threshold(&self, alpha: f64) -> Option<f32> {
        // A score with `rank` calibration scores at or below it is flagged while the p-value of that rank is at most
        // alpha. Ranks 0..=n ascend in p-value; the first that is not flagged begins at the calibration score of that
        // rank.
        let flagged_ranks = partition_point(self.rows() + 1, |rank| self.p_value_of_rank(rank) <= alpha);
        match flagged_ranks.checked_sub(1) {
            None => None,
            Some(rank) => match self.sorted.get(rank) {
                None => Some(f32::MAX),
                Some(above) => Some(above.next_down()).filter(|below| below.is_finite()),
            },
        }
    }

    /// Checks that `alpha` is a share and that so many calibration rows can flag anything at it.
    ///
    /// # Errors
    /// [`Error::Config`] for an alpha outside (0, 1) and where `1 / (n + 1) > alpha`; the message says how many rows
    /// are needed.
    pub fn check_alpha(&self, alpha: f64) -> Result<()> {
        check_share(alpha)?;
        if self.smallest_p_value() <= alpha {
            return Ok(());
        }
        let (rows, needed, smallest) = (self.rows(), rows_to_flag(alpha), self.smallest_p_value());
        Err(Error::Config(format!(
            "{rows} calibration rows cannot flag anything at alpha {alpha}: give at least {needed} rows or an alpha of at least \
             {smallest:.4}"
        )))
    }

    /// The p-value of a score with `below` calibration scores at or below it. One division of whole numbers: it rounds
    /// to the same float as the decimal fraction that a user writes for alpha.
    fn p_value_of_rank(&self, below: usize) -> f64 {
        (below as f64 + 1.0) / (self.rows() as f64 + 1.0)
    }
}

impl TryFrom<Vec<f32>> for ConformalScores {
    type Error = Error;

    fn try_from(scores: Vec<f32>) -> Result<Self> {
        Self::try_new(scores)
    }
}

impl From<ConformalScores> for Vec<f32> {
    fn from(scores: ConformalScores) -> Self {
        scores.sorted
    }
}

/// The fewest calibration rows that can flag anything at `alpha`: the least n with `1 / (n + 1) <= alpha`.
pub fn rows_to_flag(alpha: f64) -> usize {
    let guess = (1.0 / alpha).ceil().max(1.0) as usize;
    // Rounding may put the guess one off.
    (guess.saturating_sub(2)..=guess).find(|&n| n > 0 && 1.0 / (n as f64 + 1.0) <= alpha).unwrap_or(guess)
}

/// Refuses an alpha outside (0, 1).
pub(crate) fn check_share(alpha: f64) -> Result<()> {
    if alpha > 0.0 && alpha < 1.0 {
        return Ok(());
    }
    Err(Error::Config(format!("alpha {alpha}: give a share between 0 and 1, for example 0.05")))
}

/// The first of `0..len` for which `holds` is false, where it holds for a prefix.
fn partition_point(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
#[path = "conformal_tests.rs"]
mod tests;
