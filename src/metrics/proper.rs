//! Accuracy and the two proper scores, NLL and Brier: lower is better for both, and neither can be gamed by a constant
//! guess.

use super::LabelledLogits;
use crate::score;

/// Share of rows whose arg-max class is the label, in [0, 1].
pub fn accuracy(rows: &LabelledLogits) -> f64 {
    let right = rows.correct().into_iter().filter(|&correct| correct).count();
    right as f64 / rows.rows() as f64
}

/// Mean negative log-likelihood of the labels at `temperature`, in nats, >= 0.
pub fn nll(rows: &LabelledLogits, temperature: f32) -> f64 {
    let sum: f64 = rows.iter().map(|(logits, label)| score::nll_of_row(logits, temperature, label)).sum();
    sum / rows.rows() as f64
}

/// Brier score at `temperature`: the mean over rows of the squared differences between probabilities and the label's
/// one-hot vector, summed over classes, in [0, 2].
pub fn brier(rows: &LabelledLogits, temperature: f32) -> f64 {
    let probabilities = rows.probabilities(temperature);
    let sum: f64 = rows
        .iter()
        .zip(probabilities.chunks_exact(rows.classes()))
        .flat_map(|((_, label), row)| {
            row.iter().enumerate().map(move |(class, &p)| (f64::from(p) - f64::from(u8::from(class == label))).powi(2))
        })
        .sum();
    sum / rows.rows() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rows_by_hand() {
        // p = (3/4, 1/4) in both rows, labels 0 and 1.
        let z = 3f32.ln();
        let logits = [z, 0.0, z, 0.0];
        let rows = LabelledLogits::try_new(&logits, 2, &[0, 1]).unwrap();
        assert_eq!(accuracy(&rows), 0.5);
        assert!((nll(&rows, 1.0) - 0.5 * ((4.0f64 / 3.0).ln() + 4f64.ln())).abs() < 1e-7);
        assert!((brier(&rows, 1.0) - 0.5 * (2.0 / 16.0 + 2.0 * 9.0 / 16.0)).abs() < 1e-7);
        // A high temperature makes both classes equally likely.
        assert!((nll(&rows, 1e6) - 2f64.ln()).abs() < 1e-6);
        assert!((brier(&rows, 1e6) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn nll_is_finite_where_the_probability_underflows() {
        let rows = LabelledLogits::try_new(&[0.0, -1000.0], 2, &[1]).unwrap();
        assert_eq!(nll(&rows, 1.0), 1000.0);
    }
}
