//! Moments of the pooled features of training rows, added up row by row.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::early::EarlyScore;
use super::statistics::FeatureStatistics;
use super::training::Training;
use crate::embedding::EmbeddingMoments;
use crate::error::{Error, Result};
use crate::score::{RowOutput, Score};

/// Rows whose scores say how those of training rows are distributed: a random part of all.
const SAMPLED_ROWS: usize = 8192;
/// Rows whose products are added at a time.
const ROWS: usize = 512;

/// Adds up what the features of training rows have in common.
///
/// Memory grows with the square of the features' number F and not with the rows: 8 bytes F², and 4 bytes F for each of
/// 8,192 sampled rows.
#[derive(Debug, Clone)]
pub struct FeatureMoments {
    stages: Vec<usize>,
    /// By predicted class.
    moments: EmbeddingMoments,
    /// Features `[N, F]` and classes of rows that are not among the moments yet.
    features: Vec<f32>,
    classes: Vec<usize>,
    /// In-distribution score MDS and features of some rows.
    sample: Vec<(f32, Vec<f32>)>,
    rows: u64,
    random: ChaCha8Rng,
}

impl FeatureMoments {
    /// For features of stages with so many numbers each, and a model of `classes` classes.
    pub fn new(stages: &[usize], classes: usize) -> Self {
        Self {
            stages: stages.to_vec(),
            moments: EmbeddingMoments::new(stages.iter().sum(), classes),
            features: Vec::new(),
            classes: Vec::new(),
            sample: Vec::new(),
            rows: 0,
            random: ChaCha8Rng::seed_from_u64(0),
        }
    }

    /// Rows that were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds a row with its features. One whose numbers are not all finite is left out.
    ///
    /// # Panics
    /// If it has no features, or not as many as were promised.
    pub fn add(&mut self, output: RowOutput<'_>) {
        let features = output.features.expect("moments are those of features");
        let (width, classes) = (self.stages.iter().sum(), self.moments.rows().len());
        assert_eq!((features.len(), output.logits.len()), (width, classes), "of one model");
        let mds = Score::Mds.of_logits(output.logits);
        if !mds.is_finite() || features.iter().any(|value| !value.is_finite()) {
            return;
        }
        let class = output.logits.iter().position(|logit| *logit == mds).expect("MDS is the largest logit");
        self.rows += 1;
        self.features.extend_from_slice(features);
        self.classes.push(class);
        if self.classes.len() == ROWS {
            self.flush();
        }
        // Each row is in the sample with the same chance (Vitter's algorithm R).
        if self.sample.len() < SAMPLED_ROWS {
            self.sample.push((mds, features.to_vec()));
        } else if let Some(place) = self.sample.get_mut(self.random.random_range(0..self.rows) as usize) {
            *place = (mds, features.to_vec());
        }
    }

    fn flush(&mut self) {
        self.moments.add(std::mem::take(&mut self.features), &std::mem::take(&mut self.classes));
    }

    /// What a model keeps of them.
    ///
    /// # Errors
    /// [`Error::Data`] for too few rows to tell how features vary.
    pub fn finish(mut self) -> Result<FeatureStatistics> {
        self.flush();
        if self.rows < 2 {
            return Err(Error::data(
                "training rows",
                format!("{} have usable features, too few for their moments", self.rows),
            ));
        }
        let (rows, mut means, mut covariance) = self.moments.into_parts();
        for (mut mean, rows) in means.column_iter_mut().zip(&rows) {
            mean /= (*rows).max(1) as f64;
        }
        for (mean, rows) in means.column_iter().zip(&rows) {
            covariance.ger(-(*rows as f64), &mean, &mean, 1.0);
        }
        covariance /= self.rows as f64;
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        // A matrix lies column by column: that of the means has a column for each class, the other one is symmetric.
        let (means, covariance) = (single(means.as_slice()), single(covariance.as_slice()));
        let training = Training { stages: self.stages, rows, means, covariance };
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
        let rows = [([1.0, 0.0], [1.0, 10.0]), ([1.0, 0.0], [3.0, 14.0]), ([0.0, 1.0], [8.0, 3.0])];
        for (logits, features) in &rows {
            moments.add(RowOutput { logits, features: Some(features) });
        }
        moments.add(RowOutput { logits: &[f32::NAN, 0.0], features: Some(&[1.0, 1.0]) });
        moments.add(RowOutput { logits: &[1.0, 0.0], features: Some(&[f32::INFINITY, 1.0]) });
        assert_eq!(moments.rows(), 3);
        let statistics = moments.finish().unwrap();
        assert_eq!((statistics.training_rows(0), statistics.training_rows(1)), (2, 1));
        assert_eq!((statistics.class_mean(0), statistics.class_mean(1)), (&[2.0, 12.0][..], &[8.0, 3.0][..]));
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
