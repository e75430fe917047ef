//! The direction in which rows of one kind differ most from all others: Fisher's linear discriminant.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

/// Added to the variances of standardised features, so that features that depend on each other can be told apart at
/// all.
const RIDGE: f64 = 1e-3;
/// Added to variances: a feature that never varies says nothing, unless a row has another value.
const LEAST_VARIANCE: f64 = 1e-12;

/// A covariance, solved once.
#[derive(Debug)]
pub(super) struct Discriminant {
    deviations: DVector<f64>,
    factor: Cholesky<f64, Dyn>,
}

/// A direction in the space of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Direction {
    weights: DVector<f64>,
    distance: f64,
}

impl Discriminant {
    /// From a covariance `[F, F]`; none where it is not positive definite, as with values that are not finite.
    pub fn of(covariance: &DMatrix<f64>) -> Option<Self> {
        let deviations = covariance.diagonal().map(|variance| (variance + LEAST_VARIANCE).sqrt());
        let mut correlation = DMatrix::from_fn(deviations.len(), deviations.len(), |row, column| {
            covariance[(row, column)] / (deviations[row] * deviations[column])
        });
        for at in 0..deviations.len() {
            correlation[(at, at)] = 1.0 + RIDGE;
        }
        Cholesky::new(correlation).map(|factor| Self { deviations, factor })
    }

    /// The direction of a difference of means `[F]`: the larger the projection, the more like the mean it points to.
    pub fn towards(&self, difference: &DVector<f64>) -> Direction {
        let solved = self.factor.solve(&difference.component_div(&self.deviations));
        let weights = solved.component_div(&self.deviations);
        Direction { distance: weights.dot(difference), weights }
    }
}

impl Direction {
    /// Squared Mahalanobis distance between the two means.
    pub fn distance(&self) -> f64 {
        self.distance
    }

    /// Minus the projection of features `[F]`: smaller is more like the mean that the direction points to.
    pub fn score(&self, features: &[f32]) -> f64 {
        -self.weights.iter().zip(features).map(|(weight, value)| weight * f64::from(*value)).sum::<f64>()
    }

    /// Mean and standard deviation of that score among rows with this mean `[F]` and covariance `[F, F]`.
    pub(super) fn moments(&self, mean: &DVector<f64>, covariance: &DMatrix<f64>) -> (f64, f64) {
        (-self.weights.dot(mean), self.weights.dot(&(covariance * &self.weights)).max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Variances 4 and 1, independent: the inverse times (2, 1) is (0.5, 1).
        let covariance = DMatrix::from_row_slice(2, 2, &[4.0, 0.0, 0.0, 1.0]);
        let direction = Discriminant::of(&covariance).expect("positive").towards(&DVector::from_vec(vec![2.0, 1.0]));
        let shrunk = 1.0 / (1.0 + RIDGE);
        assert!((direction.distance() - 2.0 * shrunk).abs() < 1e-9, "{direction:?}");
        assert!((direction.score(&[2.0, 3.0]) + 4.0 * shrunk).abs() < 1e-6);
        // The mean (2, 3) has that score; the variance along (0.5, 1) is 0.25 * 4 + 1.
        let (mean, deviation) = direction.moments(&DVector::from_vec(vec![2.0, 3.0]), &covariance);
        assert!((mean + 4.0 * shrunk).abs() < 1e-6 && (deviation - 2f64.sqrt() * shrunk).abs() < 1e-6);
        let never_varies = DMatrix::from_row_slice(2, 2, &[0.0, 0.0, 0.0, 1.0]);
        assert!(Discriminant::of(&never_varies).is_some());
        assert!(Discriminant::of(&DMatrix::from_element(2, 2, f64::NAN)).is_none());
    }
}
