//! Thresholds against NumPy's percentiles (`thresholds.*` in `tests/golden`).

mod common;

use common::golden::{self, assert_close};
use dismax::calibration::ConformalScores;
use dismax::metrics::percentile_of_sorted;

#[test]
fn percentiles_match_numpy() {
    let scores = ConformalScores::try_new(golden::f32s("ood.id_scores").1).unwrap();
    let expected = golden::f64s("thresholds.of_id_scores");
    assert_eq!(expected.len(), 25);
    for (percent, expected) in golden::f64s("thresholds.percentiles").into_iter().zip(expected) {
        // Interpolated in float32 by the reference.
        let got = percentile_of_sorted(scores.sorted(), percent);
        assert_close(&format!("percentile {percent}"), got, expected, 1e-6);
    }
}

#[test]
fn conformal_threshold_is_the_percentile_to_one_row() {
    let scores = ConformalScores::try_new(golden::f32s("ood.id_scores").1).unwrap();
    let flagged = scores.sorted().iter().filter(|&&score| scores.verdict(score, 0.05).unwrap().is_ood).count();
    // A p-value of at most 0.05 among 3,001 rows leaves room for 149 calibration scores at or below. The score of rank
    // 149 is -0.9, one of a tie that begins at rank 138: a tie is flagged as a whole or not at all.
    assert_eq!(scores.sorted()[149], scores.sorted()[138]);
    assert_eq!((flagged, scores.rows()), (138, 3000));
    let threshold = scores.threshold(0.05).unwrap();
    assert_close("5th percentile", f64::from(threshold), golden::f64s("thresholds.of_id_scores")[10], 0.01);
}
