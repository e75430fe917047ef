//! How sure a share is.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

use crate::error::{Error, Result};

/// An interval that holds the true value with confidence `level`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Confidence in (0, 1), for example 0.95.
    pub level: f64,
}

/// The exact (Clopper-Pearson) interval of a share of which `hits` of `rows` were seen, for example flagged rows. Exact
/// means that it covers the true share at least as often as `level` says, for every sample size.
///
/// # Errors
/// [`Error::Config`] where `rows` is 0, `hits` exceeds it or `level` is not in (0, 1).
pub fn share_interval(hits: u64, rows: u64, level: f64) -> Result<Interval> {
    check_level(level)?;
    if rows == 0 || hits > rows {
        return Err(Error::Config(format!("no share can be made of {hits} among {rows} rows")));
    }
    let tail = (1.0 - level) / 2.0;
    let misses = rows - hits;
    // The ends are quantiles of Beta distributions; where a shape would be 0 the end is the end of the scale.
    let lower = if hits == 0 { 0.0 } else { beta_quantile(hits, misses + 1, tail)? };
    let upper = if misses == 0 { 1.0 } else { beta_quantile(hits + 1, misses, 1.0 - tail)? };
    Ok(Interval { lower, upper, level })
}

/// Refuses a confidence level outside (0, 1).
pub(crate) fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(Error::Config(format!("confidence level {level}: give a share between 0 and 1, for example 0.95")))
}

fn beta_quantile(a: u64, b: u64, at: f64) -> Result<f64> {
    let beta = Beta::new(a as f64, b as f64).map_err(|error| Error::Internal(format!("Beta({a}, {b}): {error}")))?;
    beta.try_inverse_cdf(at).map_err(|error| Error::Internal(format!("Beta({a}, {b}) at {at}: {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_intervals() {
        // `binom.test(hits, rows)$conf.int` of R.
        for (hits, rows, lower, upper) in [
            (5, 100, 0.016_431_9, 0.112_834_9),
            (1, 10, 0.002_528_6, 0.445_016_1),
            (500, 1000, 0.468_549_2, 0.531_450_8),
        ] {
            let got = share_interval(hits, rows, 0.95).unwrap();
            assert!((got.lower - lower).abs() < 1e-6 && (got.upper - upper).abs() < 1e-6, "{hits}/{rows}: {got:?}");
        }
    }

    #[test]
    fn ends_of_the_scale() {
        // With no hits in n rows the upper end is 1 - 0.025^(1/n).
        let none = share_interval(0, 50, 0.95).unwrap();
        assert_eq!(none.lower, 0.0);
        assert!((none.upper - (1.0 - 0.025f64.powf(1.0 / 50.0))).abs() < 1e-9);
        let all = share_interval(50, 50, 0.95).unwrap();
        assert_eq!(all.upper, 1.0);
        assert!((all.lower + none.upper - 1.0).abs() < 1e-9);
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(share_interval(0, 0, 0.95).is_err());
        assert!(share_interval(2, 1, 0.95).is_err());
        assert!(share_interval(1, 2, 1.0).is_err());
        assert!(share_interval(1, 2, f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn the_share_lies_inside(rows in 1u64..5000, part in 0f64..=1.0) {
            let hits = (rows as f64 * part) as u64;
            let interval = share_interval(hits, rows, 0.9).unwrap();
            let share = hits as f64 / rows as f64;
            prop_assert!(0.0 <= interval.lower && interval.lower <= share && share <= interval.upper && interval.upper <= 1.0);
        }
    }
}
