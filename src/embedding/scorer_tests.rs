use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{EmbeddingMoments, to_unit_length};
use super::*;

const DIMENSIONS: usize = 6;
const CLASSES: usize = 3;

/// Rows `[N, D]` of length 1 around three centres, and their classes.
fn rows(count: usize, seed: u64) -> (Vec<f32>, Vec<usize>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let classes: Vec<usize> = (0..count).map(|row| row % CLASSES).collect();
    let mut values = Vec::with_capacity(count * DIMENSIONS);
    for class in &classes {
        let shared: f32 = random.random_range(-1.0..1.0);
        let number = |at: usize| {
            let centre = if at == *class { 3.0 } else { 1.0 };
            centre + shared * (at as f32 / 4.0) + random.random_range(-0.5..0.5)
        };
        let mut row: Vec<f32> = (0..DIMENSIONS).map(number).collect();
        assert!(to_unit_length(&mut row));
        values.extend(row);
    }
    (values, classes)
}

fn space() -> EmbeddingSpace {
    let (values, classes) = rows(3000, 1);
    let mut moments = EmbeddingMoments::new(DIMENSIONS, CLASSES);
    moments.add(values, &classes);
    let names = ["a", "b", "c"].map(String::from);
    EmbeddingSpace::of(&moments.finish(&names).expect("classes")).expect("a space")
}

/// Whitened row and class means by the definition: the inverse of the whole covariance.
fn whitened(space: &EmbeddingSpace, row: &[f32]) -> (DVector<f64>, Vec<DVector<f64>>) {
    let directions = space.directions().map(f64::from);
    let rest = f64::from(space.rest());
    let along = DMatrix::from_diagonal(&space.variances().map(|variance| f64::from(variance) - rest));
    let covariance = DMatrix::identity(DIMENSIONS, DIMENSIONS) * rest + &directions * along * directions.transpose();
    let inverse = covariance.cholesky().expect("positive").l().try_inverse().expect("a triangle");
    let means = space.means().map(f64::from);
    let centre = means.column_mean();
    let row = DVector::from_iterator(DIMENSIONS, row.iter().map(|value| f64::from(*value)));
    (&inverse * (row - &centre), means.column_iter().map(|mean| &inverse * (mean - &centre)).collect())
}

#[test]
fn dismax_logits_are_those_of_the_definition() {
    let scorer = EmbeddingScorer::try_new(space(), EmbeddingHead::Dismax, 1.5).expect("a scorer");
    let (values, _) = rows(20, 2);
    let logits = scorer.logits(&values);
    for (row, logits) in values.chunks_exact(DIMENSIONS).zip(logits.chunks_exact(CLASSES)) {
        let (row, means) = whitened(scorer.space(), row);
        let distance = |mean: &DVector<f64>| 1.5 * (row.normalize() - mean.normalize()).norm() / 2f64.sqrt();
        let distances: Vec<f64> = means.iter().map(distance).collect();
        let mean = distances.iter().sum::<f64>() / CLASSES as f64;
        for (logit, distance) in logits.iter().zip(&distances) {
            assert!((f64::from(*logit) + distance + mean).abs() < 1e-4, "{logit} {distance} {mean}");
        }
    }
}

#[test]
fn mahalanobis_logits_are_those_of_the_definition() {
    let scorer = EmbeddingScorer::try_new(space(), EmbeddingHead::Mahalanobis, 1.0).expect("a scorer");
    let (values, _) = rows(20, 3);
    for (row, logits) in values.chunks_exact(DIMENSIONS).zip(scorer.logits(&values).chunks_exact(CLASSES)) {
        let (row, means) = whitened(scorer.space(), row);
        for (logit, mean) in logits.iter().zip(&means) {
            let expected = -0.5 * (&row - mean).norm_squared();
            assert!((f64::from(*logit) - expected).abs() < 1e-3 * expected.abs().max(1.0), "{logit} {expected}");
        }
    }
}

#[test]
fn both_heads_tell_classes_and_strangers() {
    let (values, classes) = rows(300, 4);
    let mut stranger = vec![-1.0, 1.0, -1.0, 1.0, -1.0, 1.0];
    assert!(to_unit_length(&mut stranger));
    for head in EmbeddingHead::ALL {
        let scorer = EmbeddingScorer::try_new(space(), head, 1.0).expect("a scorer");
        let logits = scorer.logits(&values);
        let best = |logits: &[f32]| logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let right = logits.chunks_exact(CLASSES).zip(&classes).filter(|(row, class)| row[**class] == best(row)).count();
        assert!(right > 285, "{head}: {right} of 300");
        let strange = best(&scorer.logits(&stranger));
        let stranger_than = logits.chunks_exact(CLASSES).filter(|row| best(row) > strange).count();
        assert!(stranger_than > 295, "{head}: {stranger_than} of 300");
        // Rows do not depend on those beside them.
        assert_eq!(scorer.logits(&values[..DIMENSIONS]), logits[..CLASSES]);
    }
}

#[test]
fn a_self_check_tells_heads_apart() {
    use crate::model::SelfCheck;
    for head in EmbeddingHead::ALL {
        let scorer = EmbeddingScorer::try_new(space(), head, 1.0).expect("a scorer");
        let check = SelfCheck::record_embeddings(&scorer).expect("finite");
        assert_eq!(check.verify_embeddings(&scorer), Ok(0.0));
        let own = scorer.space();
        let mut means = own.means().clone();
        means.swap_columns(0, 1);
        let other = EmbeddingSpace::try_new(means, own.directions().clone(), own.variances().clone(), own.rest());
        let other = EmbeddingScorer::try_new(other.expect("a space"), head, 1.0).expect("a scorer");
        assert!(check.verify_embeddings(&other).is_err(), "{head}");
    }
}

#[test]
fn what_is_not_finite_stays_so_and_scales_are_positive() {
    let scorer = EmbeddingScorer::try_new(space(), EmbeddingHead::Dismax, 1.0).expect("a scorer");
    assert!(scorer.logits(&[f32::NAN; DIMENSIONS]).iter().all(|logit| logit.is_nan()));
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(scorer.clone().with_distance_scale(scale).is_err(), "{scale}");
    }
}
