//! Thresholds against NumPy's percentiles (`thresholds.*` in `tests/golden`).

mod common;

use common::golden::{self, assert_close};
use dismax::calibration::ConformalScores;
use dismax::calibration::quantiles::{PERCENTILES, percentiles_of_sorted};

#[test]
fn percentiles_match_numpy() {
    assert_eq!(golden::f64s("thresholds.percentiles"), PERCENTILES);
    let scores = ConformalScores::try_new(golden::f32s("ood.id_scores").1).unwrap();
    let expected = golden::f64s("thresholds.of_id_scores");
    for ((percent, got), expected) in PERCENTILES.iter().zip(percentiles_of_sorted(scores.sorted())).zip(expected) {
        // Interpolated in float32 by the reference.
        assert_close(&format!("percentile {percent}"), got, expected, 1e-6);
    }
}

#[test]
fn conformal_threshold_is_the_percentile_to_one_row() {
    let scores = ConformalScores::try_new(golden::f32s("ood.id_scores").1).unwrap();
    let (flagged, rows) = scores.count_flagged(scores.sorted(), 0.05).unwrap();
    // floor(0.05 * 3001) - 1 calibration rows lie below the threshold, fewer where the row at it has ties.
    assert!(flagged <= 149 && flagged >= 100, "{flagged} of {rows}");
    let threshold = scores.threshold(0.05).unwrap();
    assert_close("5th percentile", f64::from(threshold), golden::f64s("thresholds.of_id_scores")[10], 0.01);
}
