//! Examples of unknown images.

use std::collections::BTreeSet;

use super::scatter::Scatter;
use crate::error::{Error, Result};

/// The first half of the SHA-256 of an image's bytes.
pub type ExampleDigest = [u8; 16];

/// What is kept of examples of unknown images: the moments of their features, and their digests, by which they are
/// known again among rows that are calibrated or judged.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownExamples {
    scatter: Scatter,
    digests: BTreeSet<ExampleDigest>,
}

impl UnknownExamples {
    /// None yet, of rows with so many features.
    pub fn new(width: usize) -> Self {
        Self { scatter: Scatter::new(width), digests: BTreeSet::new() }
    }

    /// From what a file holds: of so many rows the mean `[F]` and the covariance `[F, F]`.
    ///
    /// # Errors
    /// [`Error::Data`] for moments that are not finite, or of another number of rows than there are digests.
    pub(crate) fn of_parts(mean: &[f32], covariance: &[f32], digests: &[ExampleDigest]) -> Result<Self> {
        let rows = digests.len();
        let digests: BTreeSet<ExampleDigest> = digests.iter().copied().collect();
        let is_finite = mean.iter().chain(covariance).all(|value| value.is_finite());
        if rows == 0 || digests.len() != rows || !is_finite || covariance.len() != mean.len() * mean.len() {
            return Err(Error::data("examples of unknown images", "are not finite, or do not fit each other"));
        }
        Ok(Self { scatter: Scatter::of_moments(rows as u64, mean, covariance), digests })
    }

    /// Adds an image with its features `[F]`, unless it is there. One whose features are not all finite is left out.
    ///
    /// # Panics
    /// If it has another number of features.
    pub fn add(&mut self, digest: ExampleDigest, features: &[f32]) {
        if features.iter().all(|value| value.is_finite()) && self.digests.insert(digest) {
            self.scatter.add(features);
        }
    }

    /// Number of different images.
    pub fn len(&self) -> u64 {
        self.scatter.rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether an image is one of them.
    pub fn contains(&self, digest: &ExampleDigest) -> bool {
        self.digests.contains(digest)
    }

    /// Moments of their features.
    #[doc(hidden)]
    pub fn scatter(&self) -> &Scatter {
        &self.scatter
    }

    /// Digests of the images, ascending.
    pub(crate) fn digests(&self) -> impl ExactSizeIterator<Item = &ExampleDigest> {
        self.digests.iter()
    }

    /// The same as it comes back from a file.
    pub(super) fn rounded(&self) -> Self {
        Self { scatter: self.scatter.rounded(), digests: self.digests.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_there_twice_is_one_example() {
        let mut examples = UnknownExamples::new(1);
        assert!(examples.is_empty());
        for (digest, value) in [(1, 2.0), (2, 4.0), (1, 2.0), (3, f32::NAN)] {
            examples.add([digest; 16], &[value]);
        }
        assert_eq!((examples.len(), examples.scatter().mean()), (2, &[3.0][..]));
        assert!(examples.contains(&[2; 16]) && !examples.contains(&[3; 16]));
    }

    #[test]
    fn parts_must_fit() {
        let of = |mean: &[f32], covariance: &[f32], digests: &[u8]| {
            let digests: Vec<ExampleDigest> = digests.iter().map(|digest| [*digest; 16]).collect();
            UnknownExamples::of_parts(mean, covariance, &digests)
        };
        assert_eq!(of(&[1.0], &[2.0], &[1, 2]).expect("fit").scatter().covariance(), [2.0]);
        for (mean, covariance, digests) in [
            ([1.0], vec![2.0], vec![]),
            ([1.0], vec![2.0], vec![7, 7]),
            ([f32::NAN], vec![2.0], vec![7]),
            ([1.0], vec![2.0, 3.0], vec![7]),
        ] {
            assert!(of(&mean, &covariance, &digests).is_err(), "{mean:?} {covariance:?} {digests:?}");
        }
    }
}
