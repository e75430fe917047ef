//! Principal components (Pearson 1901; Hotelling 1933).

use dismax::calibration::Scatter;
use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// Features that vary by less than this share of their mean square do not vary but for rounding.
const CONSTANT: f64 = 1e-10;

/// The two directions in which features vary most, and where their middle is.
#[derive(Debug)]
pub(super) struct Components {
    mean: DVector<f64>,
    directions: [DVector<f64>; 2],
    /// Shares of the variance that lie in the two directions, the larger first.
    pub shares: [f64; 2],
}

impl Components {
    /// Of rows of features; none where fewer than two vary. Of each direction the feature that counts most counts
    /// positively: the same rows give the same picture.
    pub fn of(scatter: &Scatter) -> Option<Self> {
        let mean = DVector::from_column_slice(scatter.mean());
        let covariance = DMatrix::from_vec(scatter.width(), scatter.width(), scatter.covariance());
        let varies = |feature: usize| {
            let variance = covariance[(feature, feature)];
            variance > CONSTANT * (variance + mean[feature].powi(2))
        };
        if (0..mean.len()).filter(|feature| varies(*feature)).count() < 2 {
            return None;
        }
        let all = covariance.trace();
        let SymmetricEigen { eigenvectors, eigenvalues } = covariance.symmetric_eigen();
        let mut order: Vec<usize> = (0..eigenvalues.len()).collect();
        order.sort_by(|one, other| eigenvalues[*other].total_cmp(&eigenvalues[*one]));
        let &[first, second, ..] = order.as_slice() else { return None };
        let direction = |number: usize| {
            let direction = eigenvectors.column(number).into_owned();
            let largest = direction[direction.iamax()];
            direction * largest.signum()
        };
        let shares = [first, second].map(|number| eigenvalues[number].max(0.0) / all);
        Some(Self { mean, directions: [first, second].map(direction), shares })
    }

    /// Where a row lies in the two directions.
    pub fn project(&self, features: &[f32]) -> [f64; 2] {
        let row = DVector::from_iterator(features.len(), features.iter().copied().map(f64::from)) - &self.mean;
        self.directions.each_ref().map(|direction| direction.dot(&row))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Rows of 4 features: one hidden number of variance 9 in the first two, one of variance 1 in the third with its
    /// sign turned, and a constant.
    fn rows() -> Vec<[f32; 4]> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let row = |a: f64, b: f64| [3.0 * a + 100.0, 3.0 * a, -b, 7.0].map(|value| value as f32);
        (0..2000).map(|_| row(normal(), normal())).collect()
    }

    fn components(rows: &[[f32; 4]]) -> Option<Components> {
        let mut scatter = Scatter::new(4);
        rows.iter().for_each(|row| scatter.add(row));
        Components::of(&scatter)
    }

    #[test]
    fn directions_are_those_of_the_hidden_numbers() {
        let rows = rows();
        let components = components(&rows).expect("features vary");
        let half = 0.5f64.sqrt();
        let expected = [[half, half, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        for (direction, expected) in components.directions.iter().zip(expected) {
            // Of 2,000 rows the hidden numbers are a little correlated.
            assert!((direction - DVector::from_row_slice(&expected)).norm() < 0.03, "{direction}");
        }
        // Variances 18 and 1 of 19.
        let [first, second] = components.shares;
        assert!((first - 18.0 / 19.0).abs() < 0.01 && (first + second - 1.0).abs() < 1e-9, "{first} {second}");
        let places: Vec<[f64; 2]> = rows.iter().map(|row| components.project(row)).collect();
        let mean = |of: fn(&[f64; 2]) -> f64| places.iter().map(of).sum::<f64>() / places.len() as f64;
        assert!(mean(|place| place[0]).abs() < 1e-6 && mean(|place| place[1]).abs() < 1e-6, "the middle is 0");
        assert!(mean(|place| place[0] * place[1]).abs() < 1e-6, "components are not correlated");
        let variances = [mean(|place| place[0].powi(2)), mean(|place| place[1].powi(2))];
        assert!((variances[0] / (variances[0] + variances[1]) - first).abs() < 1e-6, "{variances:?}");
    }

    #[test]
    fn the_order_of_rows_does_not_matter() {
        let mut rows = rows();
        let (first, there) = (rows[0], components(&rows).expect("features vary").project(&rows[0]));
        rows.reverse();
        let here = components(&rows).expect("features vary").project(&first);
        assert!(there.iter().zip(here).all(|(there, here)| (there - here).abs() < 1e-6), "{there:?} {here:?}");
    }

    #[test]
    fn what_does_not_vary_has_no_components() {
        assert!(components(&[]).is_none());
        assert!(components(&rows()[..1]).is_none());
        assert!(components(&[[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.5, 4.0]]).is_none(), "one feature makes no plane");
    }
}
