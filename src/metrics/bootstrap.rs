//! How sure an ECE is: a percentile bootstrap over rows.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Interval;
use super::calibration::{Sums, bin_of, check, equal_width_edges};
use super::interval::check_level;
use crate::calibration::quantiles::percentile_of_sorted;
use crate::error::{Error, Result};

/// Percentile bootstrap interval of the ECE with `bins` equal-width bins: `resamples` draws (1,000 is usual) of as many rows with
/// replacement. The same seed gives the same interval.
///
/// ECE is a mean of absolute values, so noise only ever adds to it and a resample is noisier than the sample: on few rows, or where
/// the calibration is good, the interval lies high and may even lie above the ECE itself.
///
/// # Errors
/// [`Error::Data`] and [`Error::Config`] as [`super::Reliability::equal_width`]; [`Error::Config`] for no resamples or a `level`
/// outside (0, 1).
pub fn ece_interval(
    confidences: &[f32],
    correct: &[bool],
    bins: usize,
    resamples: usize,
    level: f64,
    seed: u64,
) -> Result<Interval> {
    check(confidences, correct, bins)?;
    check_level(level)?;
    if resamples == 0 {
        return Err(Error::Config("bootstrap: at least 1 resample is needed, 1000 is usual".into()));
    }
    let edges = equal_width_edges(bins);
    let rows: Vec<(usize, f32, bool)> =
        confidences.iter().zip(correct).map(|(&p, &hit)| (bin_of(&edges, p), p, hit)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sums = vec![Sums::default(); bins];
    let mut eces: Vec<f64> = (0..resamples)
        .map(|_| {
            sums.fill(Sums::default());
            for _ in 0..rows.len() {
                // The row and its bin exist: both were made above.
                let (bin, confidence, correct) = rows[rng.random_range(0..rows.len())];
                sums[bin].add(confidence, correct);
            }
            sums.iter().map(Sums::weighted_gap).sum::<f64>() / rows.len() as f64
        })
        .collect();
    eces.sort_by(f64::total_cmp);
    let tail = 100.0 * (1.0 - level) / 2.0;
    Ok(Interval { lower: percentile_of_sorted(&eces, tail), upper: percentile_of_sorted(&eces, 100.0 - tail), level })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::calibration::ece;

    /// Confidence 0.9, right `right` times of `rows`.
    fn rows(rows: usize, right: usize) -> (Vec<f32>, Vec<bool>) {
        (vec![0.9; rows], (0..rows).map(|row| row < right).collect())
    }

    #[test]
    fn interval_of_one_bin_is_that_of_a_share() {
        // ECE = |0.9 - accuracy|; accuracy 0.7 of 400 rows has a standard error of 0.023.
        let (confidences, correct) = rows(400, 280);
        let interval = ece_interval(&confidences, &correct, 15, 2000, 0.95, 7).unwrap();
        let ece = ece(&confidences, &correct).unwrap();
        assert!((interval.lower - (ece - 1.96 * 0.0229)).abs() < 0.006, "{interval:?}");
        assert!((interval.upper - (ece + 1.96 * 0.0229)).abs() < 0.006, "{interval:?}");
    }

    #[test]
    fn seed_decides_and_rows_narrow() {
        let (confidences, correct) = rows(100, 70);
        let interval = |seed| ece_interval(&confidences, &correct, 15, 200, 0.9, seed).unwrap();
        assert_eq!(interval(1), interval(1));
        assert_ne!(interval(1), interval(2));
        let (confidences, correct) = rows(10_000, 7000);
        let narrow = ece_interval(&confidences, &correct, 15, 200, 0.9, 1).unwrap();
        assert!(narrow.upper - narrow.lower < (interval(1).upper - interval(1).lower) / 5.0);
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(ece_interval(&[0.5], &[true], 15, 0, 0.95, 0).is_err());
        assert!(ece_interval(&[0.5], &[true], 15, 10, 95.0, 0).is_err());
        assert!(ece_interval(&[], &[], 15, 10, 0.95, 0).is_err());
    }
}
