//! Whitened embeddings: what a distance means where numbers of embeddings vary together.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use super::classes::EmbeddingClasses;
use crate::error::{Error, Result};

/// Weight of equal variances in all directions, which stand in for those that few rows cannot tell.
const SHRINKAGE: f64 = 0.5;
/// Directions with a variance of their own. The others share one: with the shrinkage they nearly have one already, and
/// the work for a row falls from D² to 256 D.
const MOST_DIRECTIONS: usize = 256;

/// Directions with a variance of their own, of embeddings of so many numbers. At least one direction is left for the
/// variance of the others.
pub(crate) fn directions(dimensions: usize) -> usize {
    MOST_DIRECTIONS.min(dimensions.saturating_sub(1))
}

/// Class means of embeddings of length 1, and how these vary within a class: along some directions with a variance of
/// their own, along all others with one variance.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingSpace {
    /// `[D, C]`.
    means: DMatrix<f32>,
    /// `[D, K]`: orthogonal, of length 1.
    directions: DMatrix<f32>,
    /// `[K]`, descending, all above [`Self::rest`].
    variances: DVector<f32>,
    /// Variance along any other direction.
    rest: f32,
}

impl EmbeddingSpace {
    /// What scoring needs of the classes.
    ///
    /// # Errors
    /// [`Error::Data`] where the embeddings of no class differ.
    pub fn of(classes: &EmbeddingClasses) -> Result<Self> {
        let EmbeddingClasses { means, covariance, .. } = classes;
        let dimensions = covariance.nrows();
        let mean_variance = covariance.trace() / dimensions as f64;
        if mean_variance.is_nan() || mean_variance <= 0.0 {
            return Err(Error::data("embeddings", "those of each class are all equal; nothing can be learnt of them"));
        }
        let eigen = SymmetricEigen::new(covariance.clone());
        let mut order: Vec<usize> = (0..dimensions).collect();
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
        // Rounding may leave a variance of nothing just below it.
        let shrunk = |at: &usize| (1.0 - SHRINKAGE) * eigen.eigenvalues[*at].max(0.0) + SHRINKAGE * mean_variance;
        let variances: Vec<f64> = order.iter().map(shrunk).collect();
        let kept = directions(dimensions);
        let rest = variances[kept..].iter().sum::<f64>() / (dimensions - kept) as f64;
        Self::try_new(
            means.map(|value| value as f32),
            DMatrix::from_fn(dimensions, kept, |row, column| eigen.eigenvectors[(row, order[column])] as f32),
            DVector::from_fn(kept, |at, _| variances[at] as f32),
            rest as f32,
        )
    }

    /// From its parts, as a file holds them.
    ///
    /// # Errors
    /// [`Error::Data`] for parts that do not fit together, and for numbers that no space has.
    pub(crate) fn try_new(
        means: DMatrix<f32>,
        directions: DMatrix<f32>,
        variances: DVector<f32>,
        rest: f32,
    ) -> Result<Self> {
        let fits = means.nrows() == directions.nrows() && directions.ncols() == variances.len() && means.nrows() > 0;
        let finite = means.iter().chain(&directions).all(|value| value.is_finite());
        let positive = variances.iter().chain([&rest]).all(|value| value.is_finite() && *value > 0.0);
        match fits && finite && positive {
            true => Ok(Self { means, directions, variances, rest }),
            false => Err(Error::data("embedding space", "its parts do not fit together, or are not finite")),
        }
    }

    /// Numbers of an embedding: D.
    pub fn dimensions(&self) -> usize {
        self.means.nrows()
    }

    /// Number of classes: C.
    pub fn classes(&self) -> usize {
        self.means.ncols()
    }

    /// Mean embeddings `[D, C]` of the classes.
    pub(crate) fn means(&self) -> &DMatrix<f32> {
        &self.means
    }

    /// Directions `[D, K]` with a variance of their own.
    pub(crate) fn directions(&self) -> &DMatrix<f32> {
        &self.directions
    }

    /// Variances `[K]` along these.
    pub(crate) fn variances(&self) -> &DVector<f32> {
        &self.variances
    }

    /// Variance along any other direction.
    pub(crate) fn rest(&self) -> f32 {
        self.rest
    }

    /// What an embedding's product with is the product of both whitened: `apart` divided by the variances.
    pub(super) fn solve(&self, apart: &DVector<f64>) -> DVector<f64> {
        let mut solved = apart / f64::from(self.rest);
        for (direction, variance) in self.directions.column_iter().zip(&self.variances) {
            let direction = direction.map(f64::from);
            let part = direction.dot(apart) * (1.0 / f64::from(*variance) - 1.0 / f64::from(self.rest));
            solved.axpy(part, &direction, 1.0);
        }
        solved
    }
}
