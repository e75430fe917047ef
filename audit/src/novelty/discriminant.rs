//! The direction in which rows of one kind differ most from all others: Fisher's linear discriminant.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::moments::Moments;

/// Added to the variances of standardised features, so that features that depend on each other can be told apart at all.
const RIDGE: f64 = 1e-3;
/// Added to variances: a feature that never varies says nothing, unless a row has another value.
const LEAST_VARIANCE: f64 = 1e-12;

/// A covariance, solved once.
#[derive(Debug)]
pub(crate) struct Discriminant {
    deviations: DVector<f64>,
    factor: Cholesky<f64, Dyn>,
}

/// A direction in the space of features.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Direction {
    weights: Vec<f64>,
    /// Squared Mahalanobis distance between the two means.
    pub distance: f64,
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
        Direction { distance: weights.dot(difference), weights: weights.as_slice().to_vec() }
    }
}

impl Direction {
    /// Minus the projection of features `[F]`: smaller is more like the mean that the direction points to.
    pub fn score(&self, features: &[f32]) -> f32 {
        let projection: f64 = self.weights.iter().zip(features).map(|(weight, value)| weight * f64::from(*value)).sum();
        -projection as f32
    }
}

/// Covariance `[F, F]` of known rows where the classes have these shares: within the classes and between them.
pub(crate) fn total_covariance(known: &Moments, shares: &[f64]) -> DMatrix<f64> {
    let mean = known.mixture(shares);
    let mut covariance = known.covariance.clone();
    for (share, class) in shares.iter().zip(&known.class_means) {
        let apart = class - &mean;
        covariance.ger(*share, &apart, &apart, 1.0);
    }
    covariance
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
        assert!((direction.distance - 2.0 * shrunk).abs() < 1e-9, "{direction:?}");
        assert!((direction.score(&[2.0, 3.0]) - (-4.0 * shrunk) as f32).abs() < 1e-6);
        let never_varies = DMatrix::from_row_slice(2, 2, &[0.0, 0.0, 0.0, 1.0]);
        assert!(Discriminant::of(&never_varies).is_some());
        assert!(Discriminant::of(&DMatrix::from_element(2, 2, f64::NAN)).is_none());
    }

    #[test]
    fn classes_apart_widen_the_covariance() {
        let known = Moments {
            class_rows: vec![1, 1],
            class_means: vec![DVector::from_vec(vec![1.0, 0.0]), DVector::from_vec(vec![3.0, 0.0])],
            covariance: DMatrix::identity(2, 2),
        };
        let expected = DMatrix::from_row_slice(2, 2, &[2.0, 0.0, 0.0, 1.0]);
        assert_eq!(total_covariance(&known, &[0.5, 0.5]), expected);
        assert_eq!(total_covariance(&known, &[1.0, 0.0]), DMatrix::identity(2, 2));
    }
}
