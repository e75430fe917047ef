//! How usual the features of the early stages are.

use nalgebra::{Cholesky, DMatrix, DVector};

use super::ranks::LogRanks;
use super::training::Training;
use crate::error::{Error, Result};

/// Added to the variances, as a share of them, so that features that depend on each other can be told apart at all.
const RIDGE: f64 = 1e-3;

/// A Gaussian on the pooled features of the network's early stages: those before the last one, at most two. It knows
/// how its values, and those of [`Score::Mds`](crate::score::Score::Mds), are distributed among training rows.
///
/// The head sees only what the last stage gives, from which the network has removed what does not tell the classes
/// apart. What the early stages see, such as colour, contrast and texture, is still there before.
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
        let (shares, early) = (training.shares(), Self::early_stages(&training.stages).iter().sum::<usize>());
        if early == 0 {
            // An embedding has no early stages, and its covariance may be large.
            return Ok((DVector::zeros(0), DMatrix::zeros(0, 0)));
        }
        let mean = training.mean(&shares).rows(0, early).into_owned();
        let mut covariance = training.total_covariance(&shares).view((0, 0), (early, early)).into_owned();
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

    /// Mean `[E]` of the early features, and the inverse `[E, E]`, row by row, of the lower triangular factor of their
    /// covariance: [`EarlyScore::usualness`] is minus half the squared length of its product with the difference from
    /// the mean.
    #[doc(hidden)]
    pub fn whitening(&self) -> (&[f64], Vec<f64>) {
        let inverse = self.factor.clone().try_inverse().expect("the diagonal of a Cholesky factor is above 0");
        (self.mean.as_slice(), inverse.transpose().as_slice().to_vec())
    }

    /// How usual the early ones of the pooled features `[F]` are: minus half their squared Mahalanobis distance from
    /// the mean of the training rows. At most 0; higher is more in-distribution.
    pub fn usualness(&self, features: &[f32]) -> f64 {
        usualness(&self.mean, &self.factor, features)
    }
}

/// Minus half the squared Mahalanobis distance of the first features from their mean.
fn usualness(mean: &DVector<f64>, factor: &DMatrix<f64>, features: &[f32]) -> f64 {
    let mut apart = DVector::from_fn(mean.len(), |at, _| f64::from(features[at]) - mean[at]);
    let solved = factor.solve_lower_triangular_mut(&mut apart);
    if solved { -0.5 * apart.norm_squared() } else { f64::NAN }
}
