//! Conformal p-values of scores against calibration rows that count with a weight each.

/// Calibration rows: scores and weights.
///
/// With equal weights the p-values are those of Bates et al. 2023. With weights that make the calibration rows as
/// common in each predicted class as the audited ones, they are those of Tibshirani et al. 2019 for a shift of classes.
#[derive(Debug, Clone)]
pub(crate) struct WeightedNulls {
    /// Scores, ascending.
    scores: Vec<f32>,
    /// Sum of the weights of all scores before this one; one more than there are scores.
    before: Vec<f64>,
    /// `(sum of weights)^2 / sum of squared weights`.
    effective: f64,
}

impl WeightedNulls {
    /// From pairs of score and weight, in any order.
    pub fn new(mut rows: Vec<(f32, f64)>) -> Self {
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut before = Vec::with_capacity(rows.len() + 1);
        let (mut sum, mut squares) = (0.0, 0.0);
        before.push(sum);
        for (_, weight) in &rows {
            sum += weight;
            squares += weight * weight;
            before.push(sum);
        }
        let effective = if squares > 0.0 { sum * sum / squares } else { 0.0 };
        Self { scores: rows.into_iter().map(|(score, _)| score).collect(), before, effective }
    }

    /// Equally weighted rows that say as much as these: as many as there are where all weights are equal (Kish 1965).
    pub fn effective_rows(&self) -> u64 {
        self.effective.round() as u64
    }

    /// `(1 + sum of the weights of scores <= score) / (1 + sum of all weights)`, in (0, 1]; small is strange. Ties
    /// count as strange for the calibration row, so that the p-value is valid with them.
    pub fn p_value(&self, score: f32) -> f64 {
        let below = self.scores.partition_point(|known| *known <= score);
        let all = self.before.last().copied().unwrap_or(0.0);
        (1.0 + self.before.get(below).copied().unwrap_or(all)) / (1.0 + all)
    }
}

/// For each class the share of audited rows divided by that of calibration rows: the weight of a calibration row of
/// that class. One row for each class is added to the audited ones, spread as the calibration rows are, so that a few
/// rows do not make weights of 0.
pub(crate) fn class_weights(audited: &[u64], calibration: &[u64]) -> Vec<f64> {
    let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let (rows, known, added) = (sum(audited), sum(calibration), audited.len() as f64);
    let weight = |(audited, known_of_class): (&u64, &u64)| match *known_of_class {
        0 => 0.0,
        of_class => {
            let known_share = of_class as f64 / known;
            (*audited as f64 + added * known_share) / (rows + added) / known_share
        }
    };
    audited.iter().zip(calibration).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_by_hand() {
        let nulls = WeightedNulls::new(vec![(3.0, 1.0), (1.0, 2.0), (2.0, 1.0)]);
        assert_eq!([0.5, 1.0, 2.5, 9.0].map(|score| nulls.p_value(score)), [1.0 / 5.0, 3.0 / 5.0, 4.0 / 5.0, 1.0]);
        // 16 / 6 equally weighted rows.
        assert_eq!(nulls.effective_rows(), 3);
        assert_eq!(WeightedNulls::new(vec![(0.0, 0.7); 9]).effective_rows(), 9);
        assert_eq!(WeightedNulls::new(Vec::new()).p_value(0.0), 1.0);
    }

    #[test]
    fn weights_follow_the_shares_of_classes() {
        let weights = class_weights(&[6_000_000, 2_000_000, 0, 0], &[50, 50, 100, 0]);
        let expected = [3.0, 1.0, 0.0, 0.0];
        assert!(weights.iter().zip(expected).all(|(weight, expected)| (weight - expected).abs() < 1e-5), "{weights:?}");
        // Nothing is known of classes without rows.
        assert_eq!(class_weights(&[0, 0], &[3, 1]), [1.0, 1.0]);
    }
}
