//! The Benjamini-Hochberg procedure (1995): which of many p-values to reject so that the expected share of false
//! rejections is bounded.

use crate::error::{Error, Result};

/// The largest p-value that is rejected at false discovery rate `q`: the largest `p_(k)` in ascending order with
/// `p_(k) <= k q / m`, where m is the number of p-values. Those at most as large are rejected; none where no rank fits.
///
/// Among rows that are out-of-distribution or not, the expected share of in-distribution rows among the rejected is at
/// most q, also for conformal p-values that share their calibration rows (Bates et al. 2023).
///
/// # Errors
/// [`Error::Config`] for a `q` outside (0, 1), [`Error::Data`] for a p-value outside [0, 1].
pub fn benjamini_hochberg(p_values: impl IntoIterator<Item = f64>, q: f64) -> Result<Option<f64>> {
    if !(q > 0.0 && q < 1.0) {
        let message = format!("false discovery rate {q}: give a share between 0 and 1, for example 0.05");
        return Err(Error::Config(message));
    }
    let mut sorted: Vec<f64> = p_values.into_iter().collect();
    if let Some(strange) = sorted.iter().find(|p_value| !(0.0..=1.0).contains(*p_value)) {
        return Err(Error::data("p-values", format!("{strange} is not between 0 and 1")));
    }
    sorted.sort_unstable_by(f64::total_cmp);
    let rows = sorted.len() as f64;
    let last = sorted.iter().enumerate().rev().find(|(rank, p_value)| **p_value <= (*rank as f64 + 1.0) * q / rows);
    Ok(last.map(|(_, p_value)| *p_value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_paper() {
        // Table 1 of Benjamini and Hochberg (1995): at 0.05 four of the 15 hypotheses are rejected.
        let p_values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0,
        ];
        assert_eq!(benjamini_hochberg(p_values, 0.05).unwrap(), Some(0.0095));
        assert_eq!(benjamini_hochberg(p_values.into_iter().rev(), 0.0001).unwrap(), None);
        assert_eq!(benjamini_hochberg([], 0.05).unwrap(), None);
    }

    #[test]
    fn a_later_rank_takes_the_earlier_with_it() {
        // 0.04 alone would not be rejected at rank 1 of 2 (0.025).
        assert_eq!(benjamini_hochberg([0.04, 0.045], 0.05).unwrap(), Some(0.045));
        assert_eq!(benjamini_hochberg([0.04, 0.06], 0.05).unwrap(), None);
    }

    #[test]
    fn bad_input_is_refused() {
        assert!([0.0, 1.0, f64::NAN].into_iter().all(|q| benjamini_hochberg([0.5], q).is_err()));
        assert!([-0.1, 1.1, f64::NAN].into_iter().all(|p| benjamini_hochberg([p], 0.05).is_err()));
    }
}
