//! Unknown images: conformal p-values under a false discovery rate, and the share of out-of-distribution rows.

use serde::{Deserialize, Serialize};

use dismax::calibration::{Estimate, benjamini_hochberg};
use dismax::error::Result;
use dismax::metrics::{Interval, share_interval};

/// P-values above this are taken for those of in-distribution rows alone: Storey's lambda.
const LAMBDA: f64 = 0.5;
/// Confidence level of intervals.
const LEVEL: f64 = 0.95;

/// What the p-values of a dataset say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnknownFigures {
    /// Rows with a p-value.
    pub tested: u64,
    /// False discovery rate asked for.
    pub fdr: f64,
    /// Largest p-value that is rejected (Benjamini-Hochberg 1995); none where no row is.
    pub threshold: Option<f64>,
    /// Rows with a p-value at most that.
    pub rejected: u64,
    /// Estimated share of out-of-distribution rows, found or not: 1 minus Storey's estimate (2002) of the share of true
    /// null hypotheses at lambda 0.5, with its 95 % interval. None without rows.
    pub out_of_distribution: Option<Estimate>,
}

/// Finds the largest p-value that is rejected at the false discovery rate `fdr`, and estimates how many rows are
/// out-of-distribution.
///
/// `calibration_rows` are those that the p-values are counted among.
///
/// # Errors
/// A rate outside (0, 1), a p-value outside [0, 1].
pub(crate) fn figures(p_values: &[f64], fdr: f64, calibration_rows: u64) -> Result<UnknownFigures> {
    let threshold = benjamini_hochberg(p_values.iter().copied(), fdr)?;
    let rejected = threshold.map_or(0, |most| p_values.iter().filter(|p| **p <= most).count()) as u64;
    let out_of_distribution = match p_values.len() as u64 {
        0 => None,
        rows => Some(storey(p_values.iter().filter(|p| **p > LAMBDA).count() as u64, rows, calibration_rows)?),
    };
    Ok(UnknownFigures { tested: p_values.len() as u64, fdr, threshold, rejected, out_of_distribution })
}

/// 1 - pi0 of `above` rows beyond lambda among `rows`; its interval is that of the share beyond lambda. Where lambda
/// lies among the scores is itself estimated from so many calibration rows, which all p-values share: the variance is
/// that of two shares, as if there were `rows * calibration_rows / (rows + calibration_rows)` rows.
fn storey(above: u64, rows: u64, calibration_rows: u64) -> Result<Estimate> {
    let out = |share_above: f64| (1.0 - share_above / (1.0 - LAMBDA)).clamp(0.0, 1.0);
    let (n, m) = (rows as f64, calibration_rows as f64);
    let effective = (n * m / (n + m)).max(1.0);
    let (hits, of) = ((above as f64 / n * effective).round() as u64, effective.round() as u64);
    let Interval { lower, upper, level } = share_interval(hits.min(of), of, LEVEL)?;
    Ok(Estimate {
        value: out(above as f64 / rows as f64),
        interval: Interval { lower: out(upper), upper: out(lower), level },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_and_threshold_of_a_mixture() {
        // 900 p-values spread evenly over (0, 1] and 100 at 0.0001: 10 % are out-of-distribution.
        let p_values: Vec<f64> = (1..=900).map(|k| f64::from(k) / 900.0).chain([1e-4; 100]).collect();
        let found = figures(&p_values, 0.05, 1_000_000_000).expect("p-values");
        // 450 lie above 0.5: pi0 = 450 / (0.5 * 1000).
        let share = found.out_of_distribution.expect("rows");
        assert!((share.value - 0.1).abs() < 1e-9, "{share:?}");
        assert!(share.interval.lower < 0.05 && share.interval.upper > 0.15 && share.interval.upper < 0.2, "{share:?}");
        // The largest k / 900 <= 0.05 (100 + k) / 1000 is k = 4: 0.00444 <= 0.0052; k = 5 has 0.00556 > 0.00525.
        assert_eq!(found.threshold, Some(4.0 / 900.0));
        assert_eq!(found.rejected, 104);
    }

    #[test]
    fn data_like_the_calibration_rows_have_none() {
        let p_values: Vec<f64> = (1..=1000).map(|k| f64::from(k) / 1000.0).collect();
        let found = figures(&p_values, 0.05, 1_000_000_000).expect("p-values");
        assert_eq!((found.threshold, found.rejected), (None, 0));
        let share = found.out_of_distribution.expect("rows");
        assert_eq!((share.value, share.interval.lower), (0.0, 0.0));
        assert!(share.interval.upper < 0.07);
        let few = figures(&p_values, 0.05, 1000).expect("p-values").out_of_distribution.expect("rows");
        let ratio = few.interval.upper / share.interval.upper;
        assert!((ratio - 2f64.sqrt()).abs() < 0.1, "as many calibration rows double the variance: {ratio}");
        let nothing = figures(&[], 0.05, 1000).expect("no p-values");
        assert_eq!((nothing.tested, nothing.out_of_distribution), (0, None));
        assert!(figures(&[0.5], 1.5, 1000).is_err());
    }
}
