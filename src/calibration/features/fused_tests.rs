use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{FeatureMoments, FeatureStatistics, UnknownExamples};
use super::*;
use crate::error::Error;

/// Two early features that nearly agree, a late one, and two classes.
fn row(random: &mut ChaCha8Rng) -> ([f32; 2], [f32; 3]) {
    let class = random.random_range(0..2);
    let mut logits = [-2.0, -2.0];
    logits[class] = -1.0 + random.random_range(-0.2..0.2);
    let shared: f32 = random.random_range(-1.0..1.0) + class as f32;
    let late = 5.0 + random.random_range(-0.5..0.5);
    (logits, [shared, shared + random.random_range(-0.1..0.1), late])
}

fn statistics() -> FeatureStatistics {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut moments = FeatureMoments::new(&[1, 1, 1], 2);
    for _ in 0..3000 {
        let (logits, features) = row(&mut random);
        moments.add(RowOutput { logits: &logits, features: Some(&features) });
    }
    moments.finish().expect("rows")
}

fn score(statistics: &FeatureStatistics, score: Score) -> impl Fn([f32; 2], [f32; 3]) -> f32 + use<> {
    let score = statistics.feature_score(score).expect("there").expect("of features");
    move |logits, features| score.of(RowOutput { logits: &logits, features: Some(&features) })
}

#[test]
fn unusual_early_features_and_far_prototypes_lower_the_score() {
    let statistics = statistics();
    let fused = score(&statistics, Score::MdsEarly);
    let usual = fused([-1.0, -2.0], [0.5, 0.5, 5.0]);
    assert!(fused([-1.0, -2.0], [0.5, -0.5, 5.0]) < usual - 3.0, "features that do not agree");
    assert!(fused([-1.6, -2.0], [0.5, 0.5, 5.0]) < usual - 3.0, "far from both prototypes");
    assert_eq!(fused([-1.0, -2.0], [0.5, 0.5, 90.0]), usual, "the last stage is the head's");
    assert!(fused([f32::NAN, 0.0], [0.5; 3]).is_nan() && fused([0.0; 2], [f32::INFINITY, 0.0, 0.0]).is_nan());
    assert!(fused([f32::INFINITY, 0.0], [0.5; 3]).is_nan());
    let without = statistics.feature_score(Score::MdsEarly).expect("there").expect("of features");
    assert!(without.of(RowOutput { logits: &[0.0; 2], features: None }).is_nan());
    // Beyond all training rows the order remains.
    let far: Vec<f32> = [-3.0, -4.0, -5.0].map(|at| fused([-1.0, -2.0], [0.5, at, 5.0])).to_vec();
    assert!(far.is_sorted_by(|a, b| a > b), "{far:?}");
}

#[test]
fn likeness_to_examples_lowers_the_score() {
    let mut statistics = statistics();
    for score in [Score::MdsUnknown, Score::MdsEarlyUnknown] {
        let error = statistics.feature_score(score).expect_err("no examples");
        assert!(matches!(error, Error::NoUnknownExamples { .. }), "{error}");
    }
    assert_eq!(statistics.feature_score(Score::Mds).expect("nothing is needed"), None);
    let mut examples = UnknownExamples::new(3);
    for number in 0..30u8 {
        examples.add([number; 16], &[0.5, 0.5, 7.0 + f32::from(number % 5) / 10.0]);
    }
    statistics.set_unknown(Some(examples)).expect("examples");
    let (unknown, both) = (score(&statistics, Score::MdsUnknown), score(&statistics, Score::MdsEarlyUnknown));
    let usual = ([-1.0, -2.0], [0.5, 0.5, 5.0]);
    assert!(unknown(usual.0, [0.5, 0.5, 7.2]) < unknown(usual.0, usual.1) - 5.0, "as the examples");
    assert!(unknown([-1.6, -2.0], usual.1) < unknown(usual.0, usual.1) - 3.0, "far from both prototypes");
    // Only one of them looks at how usual the early features are, beyond what tells the examples.
    let apart = [0.5, -0.5, 5.0];
    let early =
        score(&statistics, Score::MdsEarly)(usual.0, apart) - score(&statistics, Score::MdsEarly)(usual.0, usual.1);
    let of_both = both(usual.0, apart) - both(usual.0, usual.1);
    assert!((of_both - early - (unknown(usual.0, apart) - unknown(usual.0, usual.1))).abs() < 1e-3);
    assert!(unknown(usual.0, [0.5, 0.5, f32::NAN]).is_nan());
    statistics.set_unknown(None).expect("nothing");
    assert!(statistics.feature_score(Score::MdsUnknown).is_err());
}
