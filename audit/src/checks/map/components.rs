//! The first two principal components (Pearson 1901; Hotelling 1933) of features in one pass: of the correlation matrix,
//! so that no feature counts more for the unit that it is in.

/// Most steps of the iteration. Where it has not settled by then, the next eigenvalue is so near that the plane of the
/// two holds as much of the variance as any.
const MAX_STEPS: usize = 500;
/// The iteration has settled when the variance that the plane holds grows by less than this share.
const SETTLED: f64 = 1e-12;
/// Features that vary by less than this share of their mean square do not vary but for rounding.
const CONSTANT: f64 = 1e-10;

/// Sums over features, from which their correlations come.
#[derive(Debug)]
pub(super) struct Moments {
    rows: u64,
    /// The first row: sums over differences from it lose no digits to a large mean.
    origin: Vec<f64>,
    sums: Vec<f64>,
    /// The upper triangle of the sums of products, row after row.
    products: Vec<f64>,
    difference: Vec<f64>,
}

/// Two directions in the space of features and where the middle is.
#[derive(Debug)]
pub(super) struct Components {
    means: Vec<f64>,
    /// For each direction what each feature counts, from its mean.
    weights: [Vec<f64>; 2],
    /// Shares of the variance of all features, each scaled to variance 1, that lie in the two directions.
    pub shares: [f64; 2],
}

impl Moments {
    pub fn new() -> Self {
        let (origin, sums, products) = (Vec::new(), Vec::new(), Vec::new());
        Self { rows: 0, origin, sums, products, difference: Vec::new() }
    }

    /// Adds a row `[F]`; all rows are equally long. One with values that are not finite is left out.
    pub fn add(&mut self, features: &[f32]) {
        if features.iter().any(|value| !value.is_finite()) {
            return;
        }
        if self.rows == 0 {
            let width = features.len();
            self.origin = features.iter().copied().map(f64::from).collect();
            self.sums = vec![0.0; width];
            self.products = vec![0.0; width * (width + 1) / 2];
        }
        self.rows += 1;
        self.difference.clear();
        self.difference.extend(features.iter().zip(&self.origin).map(|(value, origin)| f64::from(*value) - origin));
        self.sums.iter_mut().zip(&self.difference).for_each(|(sum, value)| *sum += value);
        let mut rest = self.products.as_mut_slice();
        for (first, value) in self.difference.iter().enumerate() {
            let (row, next) = rest.split_at_mut(self.difference.len() - first);
            let others = self.difference.iter().skip(first);
            row.iter_mut().zip(others).for_each(|(product, other)| *product += value * other);
            rest = next;
        }
    }

    /// The two directions of most variance; none where fewer than two features vary. Of each direction the feature that
    /// counts most counts positively: the same rows give the same picture.
    pub fn components(&self) -> Option<Components> {
        let width = self.origin.len();
        let rows = self.rows.max(1) as f64;
        let shift: Vec<f64> = self.sums.iter().map(|sum| sum / rows).collect();
        let start = |row: usize| row * width - row * row.saturating_sub(1) / 2;
        let covariance = |one: usize, other: usize| {
            let (row, column) = (one.min(other), one.max(other));
            self.products[start(row) + column - row] / rows - shift[one] * shift[other]
        };
        // 1 over each standard deviation; 0 takes a feature out.
        let scales: Vec<f64> = (0..width)
            .map(|feature| {
                let variance = covariance(feature, feature);
                let square = (self.origin[feature] + shift[feature]).powi(2) + variance.max(0.0);
                if variance > CONSTANT * square { variance.sqrt().recip() } else { 0.0 }
            })
            .collect();
        let varying = scales.iter().filter(|scale| **scale > 0.0).count();
        if varying < 2 {
            return None;
        }
        let correlations: Vec<f64> = (0..width * width)
            .map(|cell| {
                let (one, other) = (cell / width, cell % width);
                covariance(one, other) * scales[one] * scales[other]
            })
            .collect();
        let (values, mut vectors) = largest_two(&correlations, width);
        for vector in &mut vectors {
            let largest = vector
                .iter()
                .copied()
                .fold(0.0, |most: f64, weight| if weight.abs() > most.abs() + 1e-9 { weight } else { most });
            let sign = if largest < 0.0 { -1.0 } else { 1.0 };
            vector.iter_mut().zip(&scales).for_each(|(weight, scale)| *weight *= sign * scale);
        }
        let means = self.origin.iter().zip(&shift).map(|(origin, shift)| origin + shift).collect();
        let shares = values.map(|value| value / varying as f64);
        Some(Components { means, weights: vectors, shares })
    }
}

impl Components {
    /// Where a row lies in the two directions; none where a value is not finite.
    pub fn project(&self, features: &[f32]) -> Option<[f64; 2]> {
        let along = |weights: &[f64]| {
            let terms = features.iter().zip(&self.means).zip(weights);
            terms.map(|((value, mean), weight)| (f64::from(*value) - mean) * weight).sum::<f64>()
        };
        let place = self.weights.each_ref().map(|weights| along(weights));
        place.iter().all(|value| value.is_finite()).then_some(place)
    }
}

/// The two largest eigenvalues of a symmetric matrix that has no negative ones, largest first, with their eigenvectors:
/// orthogonal iteration (Golub and Van Loan, *Matrix Computations*, section 8.2.4).
fn largest_two(matrix: &[f64], width: usize) -> ([f64; 2], [Vec<f64>; 2]) {
    // Any start will do that no eigenvector is orthogonal to: numbers without a pattern.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut start = || -> Vec<f64> {
        let mut number = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1u64 << 31) as f64 - 0.5
        };
        (0..width).map(|_| number()).collect()
    };
    let times = |vector: &[f64]| -> Vec<f64> { matrix.chunks_exact(width).map(|row| dot(row, vector)).collect() };
    let (mut one, mut other) = orthonormal(start(), start());
    let mut held = 0.0;
    for _ in 0..MAX_STEPS {
        (one, other) = orthonormal(times(&one), times(&other));
        let now = dot(&one, &times(&one)) + dot(&other, &times(&other));
        if now - held <= SETTLED * now {
            break;
        }
        held = now;
    }
    // Within the plane the eigenvectors of the 2 by 2 matrix that is left turn it into place.
    let (image_one, image_other) = (times(&one), times(&other));
    let (a, b, d) = (dot(&one, &image_one), dot(&one, &image_other), dot(&other, &image_other));
    let angle = 0.5 * (2.0 * b).atan2(a - d);
    let (sine, cosine) = angle.sin_cos();
    let mixed = |x: f64, y: f64| one.iter().zip(&other).map(|(one, other)| x * one + y * other).collect::<Vec<f64>>();
    let half = ((a - d) / 2.0).hypot(b);
    let middle = (a + d) / 2.0;
    ([middle + half, (middle - half).max(0.0)], [mixed(cosine, sine), mixed(-sine, cosine)])
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// Two vectors of length 1 at a right angle in the same plane (Gram and Schmidt).
fn orthonormal(mut one: Vec<f64>, mut other: Vec<f64>) -> (Vec<f64>, Vec<f64>) {
    let scale = |vector: &mut [f64]| {
        let length = dot(vector, vector).sqrt().max(f64::MIN_POSITIVE);
        vector.iter_mut().for_each(|value| *value /= length);
    };
    scale(&mut one);
    let along = dot(&one, &other);
    other.iter_mut().zip(&one).for_each(|(value, one)| *value -= along * one);
    scale(&mut other);
    (one, other)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Rows of 5 features: two hidden numbers, mixed, plus noise; the fifth feature is constant.
    fn rows(count: usize) -> Vec<[f32; 5]> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        (0..count)
            .map(|_| {
                let (a, b) = (normal(), normal());
                let noise: [f64; 3] = std::array::from_fn(|_| 0.1 * normal());
                [a + noise[0], a - noise[1], 1000.0 + 50.0 * (b + noise[2]), -a, 7.0].map(|value| value as f32)
            })
            .collect()
    }

    fn moments(rows: &[[f32; 5]]) -> Moments {
        let mut moments = Moments::new();
        rows.iter().for_each(|row| moments.add(row));
        moments
    }

    /// Three of the four features that vary are one number, the fourth is another: correlations of 1 / 1.01 at most give
    /// eigenvalues near 3 and 1 of 4, whatever the unit of the third.
    #[test]
    fn directions_are_those_of_the_hidden_numbers() {
        let rows = rows(2000);
        let components = moments(&rows).components().expect("features vary");
        assert!((components.shares[0] - 0.75).abs() < 0.01 && (components.shares[1] - 0.25).abs() < 0.01);
        let [first, second] = &components.weights;
        assert!(first[0] * first[1] > 0.0 && first[0] * first[3] < 0.0, "{first:?}");
        assert!(second[2] > 0.0, "what counts most counts positively: {second:?}");
        assert_eq!((first[4], second[4]), (0.0, 0.0), "what is constant does not count");
        let places: Vec<[f64; 2]> = rows.iter().map(|row| components.project(row).expect("finite")).collect();
        for direction in [0, 1] {
            let values = || places.iter().map(|place| place[direction]);
            let mean = values().sum::<f64>() / 2000.0;
            let variance = values().map(|value| value * value).sum::<f64>() / 2000.0;
            assert!(mean.abs() < 1e-6, "{mean}");
            assert!((variance - 4.0 * components.shares[direction]).abs() < 1e-6, "{variance}");
        }
        let product = places.iter().map(|place| place[0] * place[1]).sum::<f64>() / 2000.0;
        assert!(product.abs() < 1e-6, "components are not correlated: {product}");
    }

    /// The characteristic polynomial of this matrix gives 6, 3 and 1.
    #[test]
    fn eigenvalues_of_a_matrix_by_hand() {
        let matrix = [4.0, 1.0, 1.0, 1.0, 3.0, 2.0, 1.0, 2.0, 3.0];
        let (values, [first, second]) = largest_two(&matrix, 3);
        assert!((values[0] - 6.0).abs() < 1e-9 && (values[1] - 3.0).abs() < 1e-9, "{values:?}");
        let residual = |vector: &[f64], value: f64| {
            let image = matrix.chunks_exact(3).map(|row| dot(row, vector));
            image.zip(vector).map(|(image, own)| (image - value * own).abs()).fold(0.0, f64::max)
        };
        assert!(residual(&first, 6.0) < 1e-5 && residual(&second, 3.0) < 1e-5);
    }

    #[test]
    fn order_and_odd_rows_do_not_matter() {
        let mut rows = rows(300);
        let components = moments(&rows).components().expect("features vary");
        let there = components.project(&rows[0]).expect("finite");
        let first = rows[0];
        rows.reverse();
        rows.push([f32::NAN, 0.0, 0.0, 0.0, 0.0]);
        let again = moments(&rows).components().expect("features vary");
        let here = again.project(&first).expect("finite");
        assert!(there.iter().zip(here).all(|(there, here)| (there - here).abs() < 1e-4), "{there:?} {here:?}");
        assert_eq!(again.project(&rows[300]), None);
        assert!(moments(&rows[..1]).components().is_none(), "one row does not vary");
        assert!(Moments::new().components().is_none());
    }
}
