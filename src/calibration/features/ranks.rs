//! Ranks among known values, as logarithms that go on beyond the smallest of them.

use crate::error::{Error, Result};

/// Share of the values whose distances from each other say how fast the tail falls.
const TAIL_SHARE: usize = 50;
/// Values of the tail at least.
const MIN_TAIL: usize = 10;

/// The distribution of a value among rows, as the logarithm of the share of rows with at most that value.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRanks {
    sorted: Vec<f32>,
    /// Below the smallest value the logarithm falls by this for each 1: the tail of an exponential distribution with
    /// the mean excess of the smallest values.
    slope: f64,
}

impl LogRanks {
    /// Of values in any order.
    ///
    /// # Errors
    /// [`Error::Data`] for no values and for one that is not finite.
    pub fn try_new(mut values: Vec<f32>) -> Result<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return Err(Error::data("ranks of training rows", "there are none, or one is not finite"));
        }
        values.sort_unstable_by(f32::total_cmp);
        let tail = (values.len() / TAIL_SHARE).max(MIN_TAIL).min(values.len() - 1);
        let excess: f64 = values[..tail].iter().map(|value| f64::from(values[tail]) - f64::from(*value)).sum();
        let slope = if excess > 0.0 { tail as f64 / excess } else { 0.0 };
        Ok(Self { sorted: values, slope })
    }

    /// The values, ascending.
    pub fn sorted(&self) -> &[f32] {
        &self.sorted
    }

    /// By how much the logarithm falls for each 1 below the smallest value.
    pub fn slope(&self) -> f64 {
        self.slope
    }

    /// `ln((1 + #{values <= value}) / (n + 1))` at the values themselves, straight between them, falling on in a
    /// straight line below the smallest: at most 0, and the larger the larger the value.
    pub fn of(&self, value: f64) -> f64 {
        let n = self.sorted.len();
        let at = |rank: usize| ((rank as f64 + 1.0) / (n as f64 + 1.0)).ln();
        let below = self.sorted.partition_point(|known| f64::from(*known) <= value);
        match below {
            0 => at(1) - self.slope * (f64::from(self.sorted[0]) - value),
            below if below == n => 0.0,
            below => {
                let (low, high) = (f64::from(self.sorted[below - 1]), f64::from(self.sorted[below]));
                at(below) + (value - low) / (high - low) * (at(below + 1) - at(below))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_by_hand() {
        let ranks = LogRanks::try_new(vec![3.0, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!(ranks.of(9.0), 0.0);
        assert_eq!(ranks.of(4.0), 0.0);
        assert!((ranks.of(2.0) - (3.0f64 / 5.0).ln()).abs() < 1e-12);
        assert!((ranks.of(2.5) - ((3.0f64 / 5.0).ln() + (4.0f64 / 5.0).ln()) / 2.0).abs() < 1e-12);
        // The mean excess of 1, 2, 3 over 4 is 2.
        assert!((ranks.of(0.0) - ((2.0f64 / 5.0).ln() - 0.5)).abs() < 1e-12);
        assert!(LogRanks::try_new(Vec::new()).is_err() && LogRanks::try_new(vec![f32::NAN]).is_err());
        assert_eq!(LogRanks::try_new(vec![1.0; 20]).unwrap().of(-5.0), (2.0f64 / 21.0).ln());
    }

    proptest! {
        #[test]
        fn they_ascend(values in prop::collection::vec(-10.0f32..10.0, 1..60), a in -20.0f64..20.0, b in -20.0f64..20.0) {
            let ranks = LogRanks::try_new(values).unwrap();
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(ranks.of(low) <= ranks.of(high) && ranks.of(high) <= 0.0);
        }
    }
}
