//! Mean and covariance of rows as they come.

use nalgebra::{DMatrix, DVector};

/// Mean and covariance of rows as they come, in memory that grows with the square of the features' number.
#[derive(Debug, Clone, PartialEq)]
pub struct Scatter {
    rows: u64,
    mean: DVector<f64>,
    /// Sum of squared deviations from the mean.
    squares: DMatrix<f64>,
}

impl Scatter {
    /// No rows yet, of so many features.
    pub fn new(width: usize) -> Self {
        Self { rows: 0, mean: DVector::zeros(width), squares: DMatrix::zeros(width, width) }
    }

    /// Of so many rows with this mean `[F]` and covariance `[F, F]`.
    pub(super) fn of_moments(rows: u64, mean: &[f32], covariance: &[f32]) -> Self {
        let width = mean.len();
        let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
        // The product of a number of rows and an f32 is exact in f64, so the covariance comes back as it was.
        let squares = DMatrix::from_vec(width, width, wide(covariance)) * rows as f64;
        Self { rows, mean: DVector::from_vec(wide(mean)), squares }
    }

    /// The same as it comes back from f32.
    pub(super) fn rounded(&self) -> Self {
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
        Self::of_moments(self.rows, &single(self.mean()), &single(&self.covariance()))
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Number of features: F.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Adds a row (Welford 1962).
    ///
    /// # Panics
    /// If it has another number of features.
    pub fn add(&mut self, features: &[f32]) {
        assert_eq!(features.len(), self.width(), "rows of one model");
        self.rows += 1;
        let values = features.iter().map(|value| f64::from(*value));
        let before = DVector::from_iterator(features.len(), values) - &self.mean;
        let count = self.rows as f64;
        self.mean.axpy(1.0 / count, &before, 1.0);
        self.squares.ger((count - 1.0) / count, &before, &before, 1.0);
    }

    /// Mean features `[F]`; zeros without rows.
    pub fn mean(&self) -> &[f64] {
        self.mean.as_slice()
    }

    /// Covariance `[F, F]`; zeros without rows.
    pub fn covariance(&self) -> Vec<f64> {
        let rows = self.rows.max(1) as f64;
        self.squares.iter().map(|sum| sum / rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_as_they_come() {
        let mut scatter = Scatter::new(2);
        for row in [[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]] {
            scatter.add(&row);
        }
        assert_eq!((scatter.rows(), scatter.width()), (3, 2));
        let near = |found: &[f64], expected: &[f64]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(scatter.mean(), &[3.0, 4.0]));
        let third = [8.0, 12.0, 12.0, 24.0].map(|sum| sum / 3.0);
        assert!(near(&scatter.covariance(), &third), "{:?}", scatter.covariance());
        let rounded = scatter.rounded();
        assert_eq!(rounded.covariance(), third.map(|value| f64::from(value as f32)));
        assert_eq!(rounded.rounded(), rounded, "a second time through a file changes nothing");
        let mut more = rounded.clone();
        more.add(&[7.0, 0.0]);
        assert!(near(more.mean(), &[4.0, 3.0]) && more.rows() == 4);
        assert_eq!(Scatter::new(2).covariance(), [0.0; 4]);
    }
}
