//! Moments of training rows.

/// Moments of the training rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Training {
    pub stages: Vec<usize>,
    /// `[C]`, by predicted class.
    pub rows: Vec<u64>,
    /// `[C, F]`, by predicted class.
    pub means: Vec<f32>,
    /// `[F, F]`, within the predicted classes.
    pub covariance: Vec<f32>,
}

impl Training {
    pub fn width(&self) -> usize {
        self.stages.iter().sum()
    }
}
