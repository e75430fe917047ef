//! From embeddings to logits.

use std::sync::Arc;

use nalgebra::{DMatrix, DMatrixView, DVector};

use super::head::EmbeddingHead;
use super::length::square_length;
use super::space::EmbeddingSpace;
use crate::error::{Error, Result};

/// Lengths below this count as this, as in PyTorch's `normalize`.
const MIN_LENGTH: f64 = 1e-12;

/// Rows from which products of matrices are all computed in one way.
const FEWEST_ROWS: usize = 8;

/// Turns embeddings into logits. Cheap to clone: threads share the numbers.
#[derive(Debug, Clone)]
pub struct EmbeddingScorer {
    head: EmbeddingHead,
    /// Factor on DisMax's distances.
    distance_scale: f32,
    space: Arc<EmbeddingSpace>,
    derived: Arc<Derived>,
}

/// What a head computes with. Matrices are row-major.
#[derive(Debug)]
pub(crate) struct ScorerParts<'a> {
    /// `[D]`: from which embeddings of length 1 are measured.
    pub centre: &'a [f32],
    /// `[K, D]`: directions with a variance of their own.
    pub directions: &'a [f32],
    /// `[K]`: these variances.
    pub variances: &'a [f32],
    /// Variance along any other direction.
    pub rest_variance: f32,
    /// `[C, D]`: what gives the products with the whitened class means.
    pub prototypes: Vec<f32>,
    /// `[C]`: lengths of the whitened class means.
    pub lengths: &'a [f64],
}

/// What follows from a space.
#[derive(Debug)]
struct Derived {
    /// `[D]`: the mean of the class means, from which whitened embeddings are measured.
    centre: DVector<f32>,
    /// `[K + C, D]`: the directions, and what gives the products with the whitened class means.
    rows: DMatrix<f32>,
    /// `[C]`: lengths of the whitened class means.
    lengths: DVector<f64>,
}

impl Derived {
    fn of(space: &EmbeddingSpace) -> Self {
        let (dimensions, classes) = (space.dimensions(), space.classes());
        let means = space.means().map(f64::from);
        let centre = means.column_mean();
        let kept = space.directions().ncols();
        let mut rows = DMatrix::zeros(kept + classes, dimensions);
        rows.rows_mut(0, kept).copy_from(&space.directions().transpose());
        let mut lengths = DVector::zeros(classes);
        for (class, mean) in means.column_iter().enumerate() {
            let apart = mean - &centre;
            let solved = space.solve(&apart);
            lengths[class] = apart.dot(&solved).max(0.0).sqrt();
            rows.row_mut(kept + class).copy_from(&solved.map(|value| value as f32).transpose());
        }
        Self { centre: centre.map(|value| value as f32), rows, lengths }
    }
}

impl EmbeddingScorer {
    /// A scorer with this head; `distance_scale` counts for [`EmbeddingHead::Dismax`].
    ///
    /// # Errors
    /// [`Error::Config`] for a scale that is not above 0.
    pub fn try_new(space: EmbeddingSpace, head: EmbeddingHead, distance_scale: f32) -> Result<Self> {
        check_scale(distance_scale)?;
        let derived = Arc::new(Derived::of(&space));
        Ok(Self { head, distance_scale, space: Arc::new(space), derived })
    }

    /// The same with another distance scale.
    ///
    /// # Errors
    /// As [`EmbeddingScorer::try_new`].
    pub fn with_distance_scale(self, distance_scale: f32) -> Result<Self> {
        check_scale(distance_scale)?;
        Ok(Self { distance_scale, ..self })
    }

    /// The space that it computes in.
    pub fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    /// The head.
    pub fn head(&self) -> EmbeddingHead {
        self.head
    }

    /// Factor on DisMax's distances, above 0.
    pub fn distance_scale(&self) -> f32 {
        self.distance_scale
    }

    /// What it computes with.
    pub(crate) fn parts(&self) -> ScorerParts<'_> {
        let Derived { centre, rows, lengths } = &*self.derived;
        let kept = self.space.directions().ncols();
        ScorerParts {
            centre: centre.as_slice(),
            directions: self.space.directions().as_slice(),
            variances: self.space.variances().as_slice(),
            rest_variance: self.space.rest(),
            prototypes: rows.rows(kept, lengths.len()).transpose().as_slice().to_vec(),
            lengths: lengths.as_slice(),
        }
    }

    /// Logits `[N, C]`, row-major, before temperature, of embeddings `[N, D]` of length 1
    /// ([`to_unit_length`](super::to_unit_length)). NaN for those with NaN.
    ///
    /// # Panics
    /// If `embeddings` is no whole number of rows.
    pub fn logits(&self, embeddings: &[f32]) -> Vec<f32> {
        let (dimensions, classes) = (self.space.dimensions(), self.space.classes());
        assert!(embeddings.len().is_multiple_of(dimensions), "rows of {dimensions} numbers");
        let count = embeddings.len() / dimensions;
        let Derived { centre, rows, lengths } = &*self.derived;
        let (mut centred, mut squares) = (embeddings.to_vec(), Vec::with_capacity(count));
        for row in centred.chunks_exact_mut(dimensions) {
            row.iter_mut().zip(centre).for_each(|(value, centre)| *value -= centre);
            squares.push(f64::from(square_length(row)));
        }
        // Products of few rows are rounded in another order, and a row must not depend on those beside it.
        let padded = count.max(FEWEST_ROWS);
        centred.resize(padded * dimensions, 0.0);
        let products = rows * DMatrixView::from_slice(&centred, dimensions, padded);
        let kept = rows.nrows() - classes;
        let rest = f64::from(self.space.rest());
        let weights: Vec<f64> =
            self.space.variances().iter().map(|variance| 1.0 / rest - 1.0 / f64::from(*variance)).collect();
        let mut logits = Vec::with_capacity(count * classes);
        for (products, square) in products.column_iter().zip(squares) {
            let along = products.rows_range(..kept);
            let own: f64 = along.iter().zip(&weights).map(|(part, weight)| weight * f64::from(*part).powi(2)).sum();
            // How far the row is from the centre in units of the spread within classes, squared. NaN for a row of
            // length 0.
            let whitened = square / rest - own;
            let products = products.rows_range(kept..);
            let start = logits.len();
            match self.head {
                _ if !whitened.is_finite() => logits.extend(std::iter::repeat_n(f32::NAN, classes)),
                EmbeddingHead::Dismax => {
                    let length = whitened.max(0.0).sqrt().max(MIN_LENGTH);
                    logits.extend(products.iter().zip(lengths).map(|(product, class)| {
                        let cosine = f64::from(*product) / (length * class.max(MIN_LENGTH));
                        // |a - b| / sqrt(2) of vectors of length 1.
                        self.distance_scale * (1.0 - cosine).max(0.0).sqrt() as f32
                    }));
                    let mean = logits[start..].iter().sum::<f32>() / classes as f32;
                    logits[start..].iter_mut().for_each(|distance| *distance = -(*distance + mean));
                }
                EmbeddingHead::Mahalanobis => logits.extend(products.iter().zip(lengths).map(|(product, class)| {
                    let squared = whitened - 2.0 * f64::from(*product) + class * class;
                    -0.5 * squared.max(0.0) as f32
                })),
            }
        }
        logits
    }
}

fn check_scale(distance_scale: f32) -> Result<()> {
    match distance_scale.is_finite() && distance_scale > 0.0 {
        true => Ok(()),
        false => Err(Error::Config(format!("a distance scale of {distance_scale}; it is above 0"))),
    }
}

#[cfg(test)]
#[path = "scorer_tests.rs"]
mod tests;
