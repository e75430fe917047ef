//! What labelled embeddings say of their classes.

use nalgebra::DMatrix;

/// Rows, means and covariance of embeddings of length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingClasses {
    /// `[C]`.
    pub(super) rows: Vec<u64>,
    /// `[D, C]`.
    pub(super) means: DMatrix<f64>,
    /// `[D, D]`.
    pub(super) covariance: DMatrix<f64>,
}

impl EmbeddingClasses {
    /// Rows of each class.
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// Mean embeddings `[C, D]`, row-major.
    pub fn means(&self) -> &[f64] {
        // A matrix lies column by column, and has a column for each class.
        self.means.as_slice()
    }

    /// Covariance `[D, D]` within the classes.
    pub fn covariance(&self) -> &[f64] {
        self.covariance.as_slice()
    }
}
