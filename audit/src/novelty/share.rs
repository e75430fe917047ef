//! The share of out-of-distribution rows, found or not.

use dismax::calibration::Estimate;
use dismax::error::Result;
use dismax::metrics::{Interval, share_interval};

/// P-values above this are taken for those of in-distribution rows alone: Storey's lambda.
const LAMBDA: f64 = 0.5;
/// Confidence level of the interval.
const LEVEL: f64 = 0.95;

/// 1 minus Storey's estimate (2002) of the share of true null hypotheses, from p-values of `calibration` rows; none
/// without p-values.
///
/// Where lambda lies among the scores is itself estimated from the calibration rows, which all p-values share: the
/// variance is that of two shares, as if there were `rows * calibration / (rows + calibration)` rows.
///
/// # Errors
/// None that can happen: so many hits of so many rows are a share.
pub(crate) fn out_of_distribution(
    p_values: impl ExactSizeIterator<Item = f64>,
    calibration: u64,
) -> Result<Option<Estimate>> {
    let rows = p_values.len() as f64;
    if rows == 0.0 {
        return Ok(None);
    }
    let above = p_values.filter(|p_value| *p_value > LAMBDA).count() as f64 / rows;
    let out = |share_above: f64| (1.0 - share_above / (1.0 - LAMBDA)).clamp(0.0, 1.0);
    let effective = (rows * calibration as f64 / (rows + calibration as f64)).max(1.0).round();
    let Interval { lower, upper, level } = share_interval((above * effective).round() as u64, effective as u64, LEVEL)?;
    let interval = Interval { lower: out(upper), upper: out(lower), level };
    Ok(Some(Estimate { value: out(above), interval }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mixture() {
        // 900 p-values spread evenly over (0, 1] and 100 at 0.0001: 10 % are out-of-distribution.
        let p_values: Vec<f64> = (1..=900).map(|k| f64::from(k) / 900.0).chain([1e-4; 100]).collect();
        let share =
            |calibration| out_of_distribution(p_values.iter().copied(), calibration).expect("p-values").expect("rows");
        // 450 lie above 0.5: pi0 = 450 / (0.5 * 1000).
        let many = share(1_000_000_000);
        assert!((many.value - 0.1).abs() < 1e-9, "{many:?}");
        assert!(many.interval.lower < 0.05 && many.interval.upper > 0.15 && many.interval.upper < 0.2, "{many:?}");
        let few = share(1000);
        let ratio = (few.interval.upper - few.interval.lower) / (many.interval.upper - many.interval.lower);
        assert!((ratio - 2f64.sqrt()).abs() < 0.1, "as many calibration rows double the variance: {ratio}");
        assert_eq!(out_of_distribution(std::iter::empty(), 1000).expect("no p-values"), None);
    }
}
