//! Sums of features.

/// Sums over rows as they come: of features and of predicted classes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FeatureSums {
    sums: Vec<f64>,
    /// Rows of each predicted class.
    pub class_rows: Vec<u64>,
}

impl FeatureSums {
    /// No rows yet, of so many features and classes.
    pub fn new(width: usize, classes: usize) -> Self {
        Self { sums: vec![0.0; width], class_rows: vec![0; classes] }
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

    /// Mean features `[F]`.
    pub fn mean(&self) -> Vec<f64> {
        let rows = self.rows().max(1) as f64;
        self.sums.iter().map(|sum| sum / rows).collect()
    }

    /// Share of each predicted class; zeros without rows.
    pub fn shares(&self) -> Vec<f64> {
        let rows = self.rows().max(1) as f64;
        self.class_rows.iter().map(|count| *count as f64 / rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_as_they_come() {
        let mut sums = FeatureSums::new(2, 3);
        for (row, class) in [([1.0, 2.0], 0), ([3.0, 2.0], 2), ([5.0, 8.0], 2)] {
            sums.add(&row, class);
        }
        assert_eq!((sums.rows(), sums.class_rows.clone()), (3, vec![1, 0, 2]));
        assert_eq!(sums.mean(), [3.0, 4.0]);
        assert_eq!(sums.shares(), [1.0 / 3.0, 0.0, 2.0 / 3.0]);
        assert_eq!(FeatureSums::new(1, 2).shares(), [0.0; 2]);
    }
}
