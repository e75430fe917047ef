//! Means and covariances of features.

use nalgebra::{DMatrix, DVector};

/// What is known of the features of training rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    /// Rows of each predicted class.
    pub class_rows: Vec<u64>,
    /// Mean features `[F]` of each predicted class.
    pub class_means: Vec<DVector<f64>>,
    /// Covariance `[F, F]` within predicted classes.
    pub covariance: DMatrix<f64>,
}

impl Moments {
    /// Number of features.
    pub fn width(&self) -> usize {
        self.covariance.nrows()
    }

    /// Share of each predicted class.
    pub fn shares(&self) -> Vec<f64> {
        shares(&self.class_rows)
    }

    /// Mean features `[F]` where the classes have these shares.
    pub fn mixture(&self, shares: &[f64]) -> DVector<f64> {
        let mut mean = DVector::zeros(self.width());
        for (share, class) in shares.iter().zip(&self.class_means) {
            mean.axpy(*share, class, 1.0);
        }
        mean
    }
}

/// Counts divided by their sum; zeros where that is 0.
pub(crate) fn shares(counts: &[u64]) -> Vec<f64> {
    let all = counts.iter().sum::<u64>().max(1) as f64;
    counts.iter().map(|count| *count as f64 / all).collect()
}

/// Sums over rows as they come: of features and of predicted classes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FeatureSums {
    sums: DVector<f64>,
    /// Rows of each predicted class.
    pub class_rows: Vec<u64>,
}

impl FeatureSums {
    /// No rows yet, of so many features and classes.
    pub fn new(width: usize, classes: usize) -> Self {
        Self { sums: DVector::zeros(width), class_rows: vec![0; classes] }
    }

    /// Adds a row.
    pub fn add(&mut self, features: &[f32], class: usize) {
        self.sums.iter_mut().zip(features).for_each(|(sum, value)| *sum += f64::from(*value));
        self.class_rows[class] += 1;
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.class_rows.iter().sum()
    }

    /// Both together.
    pub fn and(&self, other: &Self) -> Self {
        let class_rows = self.class_rows.iter().zip(&other.class_rows).map(|(one, other)| one + other).collect();
        Self { sums: &self.sums + &other.sums, class_rows }
    }

    /// Mean features `[F]`.
    pub fn mean(&self) -> DVector<f64> {
        &self.sums / self.rows().max(1) as f64
    }
}

/// Mean and covariance of rows as they come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scatter {
    pub rows: u64,
    mean: DVector<f64>,
    /// Sum of squared deviations from the mean.
    squares: DMatrix<f64>,
}

impl Scatter {
    /// No rows yet, of so many features.
    pub fn new(width: usize) -> Self {
        Self { rows: 0, mean: DVector::zeros(width), squares: DMatrix::zeros(width, width) }
    }

    /// Adds a row (Welford 1962).
    pub fn add(&mut self, features: &[f32]) {
        self.rows += 1;
        let before =
            DVector::from_iterator(self.mean.len(), features.iter().map(|value| f64::from(*value))) - &self.mean;
        let count = self.rows as f64;
        self.mean.axpy(1.0 / count, &before, 1.0);
        self.squares.ger((count - 1.0) / count, &before, &before, 1.0);
    }

    /// Mean features `[F]`; zeros without rows.
    pub fn mean(&self) -> &DVector<f64> {
        &self.mean
    }

    /// Covariance `[F, F]`; zeros without rows.
    pub fn covariance(&self) -> DMatrix<f64> {
        &self.squares / self.rows.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_as_they_come() {
        let mut scatter = Scatter::new(2);
        let mut sums = FeatureSums::new(2, 3);
        for (row, class) in [([1.0, 2.0], 0), ([3.0, 2.0], 2), ([5.0, 8.0], 2)] {
            scatter.add(&row);
            sums.add(&row, class);
        }
        assert_eq!((scatter.rows, sums.rows(), sums.class_rows.clone()), (3, 3, vec![1, 0, 2]));
        assert!((scatter.mean() - DVector::from_vec(vec![3.0, 4.0])).norm() < 1e-12);
        assert!((sums.mean() - DVector::from_vec(vec![3.0, 4.0])).norm() < 1e-12);
        let expected = DMatrix::from_row_slice(2, 2, &[8.0, 12.0, 12.0, 24.0]) / 3.0;
        assert!((scatter.covariance() - expected).norm() < 1e-12);
        assert_eq!(sums.and(&sums).rows(), 6);
        assert_eq!(shares(&[1, 0, 3]), [0.25, 0.0, 0.75]);
    }
}
