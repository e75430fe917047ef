//! Moments of training rows.

use nalgebra::{DMatrix, DVector};

/// Moments of the training rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Training {
    pub stages: Vec<usize>,
    /// `[C]`, by predicted class; of embeddings by label.
    pub rows: Vec<u64>,
    /// `[C, F]`, by predicted class.
    pub means: Vec<f32>,
    /// `[F, F]`, within the predicted classes.
    pub covariance: Vec<f32>,
}

impl Training {
    pub fn width(&self) -> usize {
        self.stages.iter().sum()
    }

    /// Share of each predicted class.
    pub fn shares(&self) -> Vec<f64> {
        let all = self.rows.iter().sum::<u64>() as f64;
        self.rows.iter().map(|rows| *rows as f64 / all).collect()
    }

    fn class_means(&self) -> impl Iterator<Item = DVector<f64>> {
        let means = self.means.chunks_exact(self.width());
        means.map(|mean| DVector::from_iterator(mean.len(), mean.iter().copied().map(f64::from)))
    }

    /// Mean features `[F]` where the classes have these shares.
    pub fn mean(&self, shares: &[f64]) -> DVector<f64> {
        let mut mean = DVector::zeros(self.width());
        for (share, class) in shares.iter().zip(self.class_means()) {
            mean.axpy(*share, &class, 1.0);
        }
        mean
    }

    /// Covariance `[F, F]` where the classes have these shares: within the classes and between them.
    pub fn total_covariance(&self, shares: &[f64]) -> DMatrix<f64> {
        let (width, mean) = (self.width(), self.mean(shares));
        // Symmetric: the order of rows and columns does not matter.
        let within = self.covariance.iter().copied().map(f64::from);
        let mut covariance = DMatrix::from_iterator(width, width, within);
        for (share, class) in shares.iter().zip(self.class_means()) {
            let apart = class - &mean;
            covariance.ger(*share, &apart, &apart, 1.0);
        }
        covariance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_apart_widen_the_covariance() {
        let training = Training {
            stages: vec![2],
            rows: vec![1, 3],
            means: vec![1.0, 0.0, 3.0, 0.0],
            covariance: vec![1.0, 0.0, 0.0, 1.0],
        };
        assert_eq!(training.shares(), [0.25, 0.75]);
        assert_eq!(training.mean(&[0.25, 0.75]).as_slice(), [2.5, 0.0]);
        let expected = DMatrix::from_row_slice(2, 2, &[2.0, 0.0, 0.0, 1.0]);
        assert_eq!(training.total_covariance(&[0.5, 0.5]), expected);
        assert_eq!(training.total_covariance(&[1.0, 0.0]), DMatrix::identity(2, 2));
    }
}
