//! The score `mds+early`: the distance to the nearest prototype, and how usual the features of the early stages are.

use nalgebra::{Cholesky, DMatrix, DVector};

use super::ranks::LogRanks;
use super::training::Training;
use crate::error::{Error, Result};
use crate::score::{RowOutput, Score};

/// Added to the variances, as a share of them, so that features that depend on each other can be told apart at all.
const RIDGE: f64 = 1e-3;

/// Fuses [`Score::Mds`] with a Gaussian on the pooled features of the network's early stages: those before the last
/// one, at most two.
///
/// The head sees only what the last stage gives, from which the network has removed what does not tell the classes
/// apart. What the early stages see, such as colour, contrast and texture, is still there before. Both values become the
/// logarithm of their rank among training rows, and these are added (Fisher's combination of p-values).
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyScore {
    mean: DVector<f64>,
    /// Lower triangular: times its transpose the covariance of the early features, classes together.
    factor: DMatrix<f64>,
    mds: LogRanks,
    early: LogRanks,
}

impl EarlyScore {
    /// Stages that count as early.
    fn early_stages(stages: &[usize]) -> &[usize] {
        &stages[..stages.len().saturating_sub(1).min(2)]
    }

    /// From the moments of the training rows, and MDS and features of some of them.
    pub(super) fn of_sample(training: &Training, sample: &[(f32, Vec<f32>)]) -> Result<Self> {
        let (mean, factor) = Self::gaussian(training)?;
        let mds = LogRanks::try_new(sample.iter().map(|(mds, _)| *mds).collect())?;
        let early = sample.iter().map(|(_, features)| usualness(&mean, &factor, features) as f32);
        let early = LogRanks::try_new(early.collect())?;
        Ok(Self { mean, factor, mds, early })
    }

    /// From the moments of the training rows, and how both values are distributed among them.
    pub(super) fn of_ranks(training: &Training, mds: LogRanks, early: LogRanks) -> Result<Self> {
        let (mean, factor) = Self::gaussian(training)?;
        Ok(Self { mean, factor, mds, early })
    }

    /// Mean, and factor of the covariance, of all classes together, of the early features.
    fn gaussian(training: &Training) -> Result<(DVector<f64>, DMatrix<f64>)> {
        let (width, early) = (training.width(), Self::early_stages(&training.stages).iter().sum::<usize>());
        let rows: f64 = training.rows.iter().sum::<u64>() as f64;
        let share = |class: usize| training.rows[class] as f64 / rows;
        let mut mean = DVector::zeros(early);
        for (class, of_class) in training.means.chunks_exact(width).enumerate() {
            for (sum, value) in mean.iter_mut().zip(of_class) {
                *sum += share(class) * f64::from(*value);
            }
        }
        let mut covariance = DMatrix::from_fn(early, early, |a, b| f64::from(training.covariance[a * width + b]));
        for (class, of_class) in training.means.chunks_exact(width).enumerate() {
            let apart = DVector::from_fn(early, |at, _| f64::from(of_class[at]) - mean[at]);
            covariance.ger(share(class), &apart, &apart, 1.0);
        }
        for at in 0..early {
            // A feature that never varies says nothing, unless a row has another value.
            covariance[(at, at)] += RIDGE * covariance[(at, at)] + f64::from(f32::EPSILON);
        }
        let factor = Cholesky::new(covariance)
            .ok_or_else(|| Error::data("moments of training rows", "the covariance is not positive definite"))?;
        Ok((mean, factor.unpack()))
    }

    /// How MDS is distributed among training rows.
    pub fn mds_ranks(&self) -> &LogRanks {
        &self.mds
    }

    /// How the early features' score is distributed among training rows: minus half their squared Mahalanobis distance.
    pub fn early_ranks(&self) -> &LogRanks {
        &self.early
    }

    /// How usual the early ones of the pooled features `[F]` are: minus half their squared Mahalanobis distance from the
    /// mean of the training rows. At most 0; higher is more in-distribution.
    pub fn usualness(&self, features: &[f32]) -> f64 {
        usualness(&self.mean, &self.factor, features)
    }

    /// The score of a row; higher is more in-distribution, at most 0. Not finite where logits or features are not, or
    /// where there are no features.
    pub fn of(&self, output: RowOutput<'_>) -> f32 {
        let mds = f64::from(Score::Mds.of_logits(output.logits));
        let Some(features) = output.features else { return f32::NAN };
        let early = self.usualness(features);
        if !mds.is_finite() || !early.is_finite() {
            return f32::NAN;
        }
        (self.mds.of(mds) + self.early.of(early)) as f32
    }
}

/// Minus half the squared Mahalanobis distance of the first features from their mean.
fn usualness(mean: &DVector<f64>, factor: &DMatrix<f64>, features: &[f32]) -> f64 {
    let mut apart = DVector::from_fn(mean.len(), |at, _| f64::from(features[at]) - mean[at]);
    let solved = factor.solve_lower_triangular_mut(&mut apart);
    if solved { -0.5 * apart.norm_squared() } else { f64::NAN }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::FeatureMoments;
    use super::*;

    /// Two early features that nearly agree, a late one, and two classes.
    fn row(random: &mut ChaCha8Rng) -> ([f32; 2], [f32; 3]) {
        let class = random.random_range(0..2);
        let mut logits = [-2.0, -2.0];
        logits[class] = -1.0 + random.random_range(-0.2..0.2);
        let shared: f32 = random.random_range(-1.0..1.0) + class as f32;
        (logits, [shared, shared + random.random_range(-0.1..0.1), 5.0])
    }

    #[test]
    fn unusual_early_features_and_far_prototypes_lower_the_score() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut moments = FeatureMoments::new(&[1, 1, 1], 2);
        for _ in 0..3000 {
            let (logits, features) = row(&mut random);
            moments.add(RowOutput { logits: &logits, features: Some(&features) });
        }
        let statistics = moments.finish().unwrap();
        let score = |logits: [f32; 2], features: [f32; 3]| {
            statistics.early_score().of(RowOutput { logits: &logits, features: Some(&features) })
        };
        let usual = score([-1.0, -2.0], [0.5, 0.5, 5.0]);
        assert!(score([-1.0, -2.0], [0.5, -0.5, 5.0]) < usual - 3.0, "features that do not agree");
        assert!(score([-1.6, -2.0], [0.5, 0.5, 5.0]) < usual - 3.0, "far from both prototypes");
        assert_eq!(score([-1.0, -2.0], [0.5, 0.5, 90.0]), usual, "the last stage is the head's");
        assert!(score([f32::NAN, 0.0], [0.5; 3]).is_nan() && score([0.0; 2], [f32::INFINITY, 0.0, 0.0]).is_nan());
        assert!(statistics.early_score().of(RowOutput { logits: &[0.0; 2], features: None }).is_nan());
        // Beyond all training rows the order remains.
        let far: Vec<f32> = [-3.0, -4.0, -5.0].map(|at| score([-1.0, -2.0], [0.5, at, 5.0])).to_vec();
        assert!(far.is_sorted_by(|a, b| a > b), "{far:?}");
    }
}
