//! Moments of the pooled features of training rows, added up row by row.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::early::EarlyScore;
use super::statistics::FeatureStatistics;
use super::training::Training;
use crate::error::{Error, Result};
use crate::score::{RowOutput, Score};

/// Rows whose scores say how those of training rows are distributed: a random part of all.
const SAMPLED_ROWS: usize = 8192;

/// Adds up what the features of training rows have in common.
///
/// Memory grows with the square of the features' number F and not with the rows: 8 bytes F², and 4 bytes F for each of
/// 8,192 sampled rows.
#[derive(Debug, Clone)]
pub struct FeatureMoments {
    stages: Vec<usize>,
    width: usize,
    /// By predicted class.
    rows: Vec<u64>,
    /// `[C, F]`.
    sums: Vec<f64>,
    /// `[F, F]`, the upper triangle.
    products: Vec<f64>,
    /// In-distribution score MDS and features of some rows.
    sample: Vec<(f32, Vec<f32>)>,
    random: ChaCha8Rng,
}

impl FeatureMoments {
    /// For features of stages with so many numbers each, and a model of `classes` classes.
    pub fn new(stages: &[usize], classes: usize) -> Self {
        let width = stages.iter().sum();
        Self {
            stages: stages.to_vec(),
            width,
            rows: vec![0; classes],
            sums: vec![0.0; classes * width],
            products: vec![0.0; width * width],
            sample: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(0),
        }
    }

    /// Rows that were added.
    pub fn rows(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// Adds a row with its features. One whose numbers are not all finite is left out.
    ///
    /// # Panics
    /// If it has no features, or not as many as were promised.
    pub fn add(&mut self, output: RowOutput<'_>) {
        let features = output.features.expect("moments are those of features");
        assert_eq!((features.len(), output.logits.len()), (self.width, self.rows.len()), "of one model");
        let mds = Score::Mds.of_logits(output.logits);
        if !mds.is_finite() || features.iter().any(|value| !value.is_finite()) {
            return;
        }
        let class = output.logits.iter().position(|logit| *logit == mds).expect("MDS is the largest logit");
        self.rows[class] += 1;
        let sums = &mut self.sums[class * self.width..][..self.width];
        sums.iter_mut().zip(features).for_each(|(sum, value)| *sum += f64::from(*value));
        for (first, value) in features.iter().enumerate() {
            let products = &mut self.products[first * self.width + first..(first + 1) * self.width];
            let value = f64::from(*value);
            products.iter_mut().zip(&features[first..]).for_each(|(sum, other)| *sum += value * f64::from(*other));
        }
        // Each row is in the sample with the same chance (Vitter's algorithm R).
        if self.sample.len() < SAMPLED_ROWS {
            self.sample.push((mds, features.to_vec()));
        } else if let Some(place) = self.sample.get_mut(self.random.random_range(0..self.rows.iter().sum()) as usize) {
            *place = (mds, features.to_vec());
        }
    }

    /// What a model keeps of them.
    ///
    /// # Errors
    /// [`Error::Data`] for too few rows to tell how features vary.
    pub fn finish(self) -> Result<FeatureStatistics> {
        let (rows, width) = (self.rows(), self.width);
        if rows < 2 {
            return Err(Error::data(
                "training rows",
                format!("{rows} have usable features, too few for their moments"),
            ));
        }
        let mut covariance = self.products;
        let mut means = self.sums;
        for (class, mean) in means.chunks_exact_mut(width).enumerate() {
            let count = self.rows[class].max(1) as f64;
            mean.iter_mut().for_each(|sum| *sum /= count);
            for (first, value) in mean.iter().enumerate() {
                let products = &mut covariance[first * width + first..(first + 1) * width];
                let part = self.rows[class] as f64 * value;
                products.iter_mut().zip(&mean[first..]).for_each(|(sum, other)| *sum -= part * other);
            }
        }
        for first in 0..width {
            for second in first..width {
                let value = covariance[first * width + second] / rows as f64;
                covariance[first * width + second] = value;
                covariance[second * width + first] = value;
            }
        }
        let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        let training =
            Training { stages: self.stages, rows: self.rows, means: single(means), covariance: single(covariance) };
        let early = EarlyScore::of_sample(&training, &self.sample)?;
        Ok(FeatureStatistics::new(training, early))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn moments_by_hand() {
        let mut moments = FeatureMoments::new(&[1, 1], 2);
        let rows = [([1.0, 0.0], [1.0, 10.0]), ([1.0, 0.0], [3.0, 14.0]), ([0.0, 1.0], [7.0, 2.0])];
        for (logits, features) in &rows {
            moments.add(RowOutput { logits, features: Some(features) });
        }
        moments.add(RowOutput { logits: &[f32::NAN, 0.0], features: Some(&[1.0, 1.0]) });
        moments.add(RowOutput { logits: &[1.0, 0.0], features: Some(&[f32::INFINITY, 1.0]) });
        assert_eq!(moments.rows(), 3);
        let statistics = moments.finish().unwrap();
        assert_eq!((statistics.training_rows(0), statistics.training_rows(1)), (2, 1));
        assert_eq!((statistics.class_mean(0), statistics.class_mean(1)), (&[2.0, 12.0][..], &[7.0, 2.0][..]));
        // Within class 0 the deviations are (-1, -2) and (1, 2); within class 1 there are none.
        let third = |value: f32| value / 3.0;
        assert_eq!(statistics.covariance(), [third(2.0), third(4.0), third(4.0), third(8.0)]);
        assert!(FeatureMoments::new(&[1], 2).finish().is_err());
    }

    #[test]
    fn the_sample_is_bounded_and_even() {
        let mut moments = FeatureMoments::new(&[1], 1);
        for row in 0..4 * SAMPLED_ROWS {
            moments.add(RowOutput { logits: &[0.0], features: Some(&[row as f32]) });
        }
        assert_eq!(moments.sample.len(), SAMPLED_ROWS);
        let mean = moments.sample.iter().map(|(_, features)| features[0]).sum::<f32>() / SAMPLED_ROWS as f32;
        let expected = 2.0 * SAMPLED_ROWS as f32;
        assert!((mean / expected - 1.0).abs() < 0.03, "{mean} {expected}");
    }
}
