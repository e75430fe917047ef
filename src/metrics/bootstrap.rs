//! How sure an ECE is: a bootstrap over rows.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Interval;
use super::calibration::{Sums, bin_of, check, equal_width_edges};
use super::interval::check_level;
use super::quantiles::percentile_of_sorted;
use crate::error::{Error, Result};

/// Bootstrap interval of the ECE with `bins` equal-width bins: `resamples` draws (1,000 is usual) of as many rows with
/// replacement. The same seed gives the same interval.
///
/// ECE is a mean of absolute values, so noise only ever adds to it: a resample's ECE lies above the sample's about as
/// far as the sample's lies above the true one. With `q` the resamples' upper percentile and `m` their median, the
/// interval is `[2 ECE - q, ECE + q - m]`, ended at 0: downwards the bias is taken off (a basic bootstrap), upwards it
/// is not, so that the ECE itself always lies inside. In simulations at 95 % it covered the true ECE in 83 to 98 % of
/// samples where that was 0.02 or more, and in two thirds where it was 0: take its lower end for an upper bound of what
/// can be told apart from 0.
///
/// # Errors
/// [`Error::Data`] and [`Error::Config`] as [`super::Reliability::equal_width`]; [`Error::Config`] for no resamples or
/// a `level` outside (0, 1).
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
    let mut eces: Vec<f64> =
        (0..resamples).map(|_| ece_of((0..rows.len()).map(|_| rows[rng.random_range(0..rows.len())]), bins)).collect();
    eces.sort_by(f64::total_cmp);
    let ece = ece_of(rows.iter().copied(), bins);
    let upper = percentile_of_sorted(&eces, 100.0 * (1.0 + level) / 2.0);
    let spread = upper - percentile_of_sorted(&eces, 50.0);
    Ok(Interval { lower: (2.0 * ece - upper).max(0.0), upper: (ece + spread).min(1.0), level })
}

/// ECE of rows with their bin, confidence and whether they are right.
fn ece_of(rows: impl ExactSizeIterator<Item = (usize, f32, bool)>, bins: usize) -> f64 {
    let count = rows.len() as f64;
    let mut sums = vec![Sums::default(); bins];
    for (bin, confidence, correct) in rows {
        // The bin exists: `bin_of` gave it.
        sums[bin].add(f64::from(confidence), correct);
    }
    sums.iter().map(Sums::weighted_gap).sum::<f64>() / count
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

    /// Rows whose confidence is the chance of being right: the true ECE is 0 and the sample's is not.
    #[test]
    fn the_bias_is_taken_off_downwards() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let confidences: Vec<f32> = (0..1000).map(|_| rng.random_range(0.5..1.0f32)).collect();
        let correct: Vec<bool> = confidences.iter().map(|&p| rng.random::<f32>() < p).collect();
        let ece = ece(&confidences, &correct).unwrap();
        let interval = ece_interval(&confidences, &correct, 15, 1000, 0.95, 7).unwrap();
        assert!(ece > 0.015, "{ece}");
        // Moved percentiles would end where the ECE is as likely below as above.
        assert!(ece - interval.lower > 1.2 * (interval.upper - ece), "{interval:?} around {ece}");
    }

    #[test]
    fn a_perfectly_calibrated_sample_lies_in_its_interval() {
        // Every resample is worse than the sample, whose ECE is 0.
        let (confidences, correct) = (vec![0.5; 40], (0..40).map(|row| row % 2 == 0).collect::<Vec<_>>());
        let interval = ece_interval(&confidences, &correct, 15, 1000, 0.95, 3).unwrap();
        assert_eq!(interval.lower, 0.0);
        assert!(interval.upper > 0.05 && interval.upper < 0.2, "{interval:?}");
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
