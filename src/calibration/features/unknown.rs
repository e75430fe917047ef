//! How little a row is like examples of unknown images.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::erfc;

use super::discriminant::{Direction, Discriminant};
use super::scatter::Scatter;
use super::training::Training;

/// Below so many standard deviations the logarithm of the normal distribution is taken from its series.
const FAR: f64 = -20.0;

/// The direction from the training rows towards rows of known unknown kinds; none without such rows, and where the
/// moments cannot be used.
///
/// The covariance is that of the training rows and, where there are many, half that of the unknown ones, as in a
/// discriminant of two kinds with different covariances.
pub(super) fn direction_to_unknown(training: &Training, unknown: &Scatter) -> Option<Direction> {
    if unknown.rows() == 0 {
        return None;
    }
    let shares = training.shares();
    let (rows, width) = (unknown.rows() as f64, training.width() as f64);
    let mut covariance = training.total_covariance(&shares);
    let weight = 0.5 * rows / (rows + width);
    covariance.iter_mut().zip(unknown.covariance()).for_each(|(sum, value)| *sum += weight * value);
    let mut difference = -training.mean(&shares);
    difference.iter_mut().zip(unknown.mean()).for_each(|(sum, value)| *sum += value);
    Some(Discriminant::of(&covariance)?.towards(&difference))
}

/// Where rows lie on the way from the training rows to examples of unknown images.
///
/// Of the training rows no more is known than their moments, so their values along the direction are taken for normally
/// distributed. As for ranks among training rows, no calibration row has a part in it, and p-values stay exact.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UnknownScore {
    direction: Direction,
    mean: f64,
    deviation: f64,
}

impl UnknownScore {
    /// None without examples, and where the moments cannot be used.
    pub fn of(training: &Training, unknown: &Scatter) -> Option<Self> {
        let direction = direction_to_unknown(training, unknown)?;
        let shares = training.shares();
        let (mean, deviation) = direction.moments(&training.mean(&shares), &training.total_covariance(&shares));
        // Examples with the training rows' own mean have no direction: every row is then as usual as any.
        Some(Self { direction, mean, deviation: deviation.max(f64::MIN_POSITIVE) })
    }

    /// Logarithm of the share of training rows that are at least as much like the examples as these features `[F]`: at
    /// most 0, and the larger the less they are like them.
    pub fn ln_share(&self, features: &[f32]) -> f64 {
        ln_normal((self.direction.score(features) - self.mean) / self.deviation)
    }
}

/// Logarithm of the standard normal distribution function.
fn ln_normal(z: f64) -> f64 {
    if z > FAR {
        return (0.5 * erfc(-z / SQRT_2)).ln();
    }
    let square = z * z;
    let series = 1.0 - 1.0 / square + 3.0 / square.powi(2) - 15.0 / square.powi(3);
    -0.5 * square - (-z).ln() - 0.5 * (2.0 * PI).ln() + series.ln()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use super::*;

    /// Two classes, and two features that vary by 1 on their own.
    fn training() -> Training {
        Training {
            stages: vec![2],
            rows: vec![500, 500],
            means: vec![-1.0, 0.0, 1.0, 0.0],
            covariance: vec![1.0, 0.0, 0.0, 1.0],
        }
    }

    #[test]
    fn the_logarithm_by_known_values() {
        for (z, expected) in [(0.0, -LN_2), (-5.0, -15.064_998_393_988_7), (-40.0, -804.608_442_013_754)] {
            assert!((ln_normal(z) - expected).abs() < 1e-9, "{z}: {}", ln_normal(z));
        }
        assert!((ln_normal(FAR + 1e-9) - ln_normal(FAR - 1e-9)).abs() < 1e-6, "both ways meet");
        assert!(ln_normal(9.0) <= 0.0 && ln_normal(-1e6).is_finite() && ln_normal(f64::NAN).is_nan());
    }

    #[test]
    fn rows_like_the_examples_score_low() {
        let mut unknown = Scatter::new(2);
        [[0.0, 3.5], [0.2, 4.5], [-0.2, 4.0]].iter().for_each(|row| unknown.add(row));
        let score = UnknownScore::of(&training(), &unknown).expect("moments");
        // Only the second feature tells: four standard deviations, of which the examples' own spread takes little.
        assert!((score.ln_share(&[0.0, 4.0]) - ln_normal(-4.0)).abs() < 0.1);
        assert!((score.ln_share(&[0.7, 0.0]) - 0.5f64.ln()).abs() < 0.1);
        assert!(score.ln_share(&[0.0, -4.0]) > score.ln_share(&[0.0, 0.0]));
        assert!(UnknownScore::of(&training(), &Scatter::new(2)).is_none());
    }

    #[test]
    fn examples_like_the_training_rows_say_nothing() {
        let mut unknown = Scatter::new(2);
        unknown.add(&[0.0, 0.0]);
        let score = UnknownScore::of(&training(), &unknown).expect("moments");
        assert_eq!(score.ln_share(&[5.0, 5.0]), score.ln_share(&[-5.0, 0.0]));
    }
}
