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
    check(&sorted)?;
    sorted.sort_unstable_by(f64::total_cmp);
    let rows = sorted.len() as f64;
    let last = sorted.iter().enumerate().rev().find(|(rank, p_value)| **p_value <= (*rank as f64 + 1.0) * q / rows);
    Ok(last.map(|(_, p_value)| *p_value))
}

/// For each p-value the smallest false discovery rate at which [`benjamini_hochberg`] rejects it, in the same order:
/// `min m p_(j) / j` over the p-values that are at least as large, in [0, 1].
///
/// # Errors
/// [`Error::Data`] for a p-value outside [0, 1].
pub fn q_values(p_values: &[f64]) -> Result<Vec<f64>> {
    check(p_values)?;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut q_values = vec![1.0; p_values.len()];
    let (rows, mut smallest) = (p_values.len() as f64, 1.0f64);
    for (rank, row) in order.into_iter().enumerate().rev() {
        smallest = smallest.min(rows * p_values[row] / (rank as f64 + 1.0));
        q_values[row] = smallest;
    }
    Ok(q_values)
}

fn check(p_values: &[f64]) -> Result<()> {
    match p_values.iter().find(|p_value| !(0.0..=1.0).contains(*p_value)) {
        Some(strange) => Err(Error::data("p-values", format!("{strange} is not between 0 and 1"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn q_values_by_hand() {
        // 4 p / 3 of the third is smaller than 4 p / 2 of the second and 4 p of the first.
        let found = q_values(&[0.02, 0.9, 0.03, 0.02]).unwrap();
        let expected = [0.04, 0.9, 0.04, 0.04];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
        assert!(q_values(&[]).unwrap().is_empty());
        assert!(q_values(&[f64::NAN]).is_err());
    }

    proptest! {
        #[test]
        fn q_values_say_what_is_rejected(p_values in prop::collection::vec(0.0f64..1.0, 1..60), q in 0.01f64..0.99) {
            let threshold = benjamini_hochberg(p_values.iter().copied(), q).unwrap();
            for (p_value, q_value) in p_values.iter().zip(q_values(&p_values).unwrap()) {
                let is_rejected = threshold.is_some_and(|most| *p_value <= most);
                prop_assert!(is_rejected == (q_value <= q) || (q_value - q).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn bad_input_is_refused() {
        assert!([0.0, 1.0, f64::NAN].into_iter().all(|q| benjamini_hochberg([0.5], q).is_err()));
        assert!([-0.1, 1.1, f64::NAN].into_iter().all(|p| benjamini_hochberg([p], 0.05).is_err()));
    }
}
