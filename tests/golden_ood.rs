//! Detection metrics against scikit-learn's and the reference's numbers (`ood.*` in `tests/golden`). The scores have
//! ties.

mod common;

use common::golden::{self, assert_close};
use dismax::metrics::OodMetrics;

fn scores() -> (Vec<f32>, Vec<f32>) {
    (golden::f32s("ood.id_scores").1, golden::f32s("ood.ood_scores").1)
}

#[test]
fn areas_match_scikit_learn() {
    let (in_dist, ood) = scores();
    let metrics = OodMetrics::of_scores(&in_dist, &ood).unwrap();
    assert_eq!((metrics.in_dist_rows, metrics.ood_rows), (3000, 2000));
    assert_close("AUROC", metrics.auroc, golden::f64("ood.sklearn.auroc"), 1e-12);
    assert_close("AUPR in", metrics.aupr_in, golden::f64("ood.sklearn.aupr_in"), 1e-12);
    assert_close("AUPR out", metrics.aupr_out, golden::f64("ood.sklearn.aupr_out"), 1e-12);
}

/// The reference walks through sorted scores one by one and, among equal ones, refuses in-distribution rows first.
#[test]
fn differences_from_the_reference_are_its_ties() {
    let (in_dist, ood) = scores();
    let metrics = OodMetrics::of_scores(&in_dist, &ood).unwrap();

    // A point inside a tie has refused in-distribution rows and no OOD rows yet, so it is never the best one: the same
    // maximum.
    assert_close("detection accuracy", metrics.detection_accuracy, golden::f64("ood.reference.DTACC"), 1e-12);

    // Its AUROC counts a tie as lost, ours as half won.
    let ties: usize = in_dist.iter().map(|a| ood.iter().filter(|b| *b == a).count()).sum();
    assert!(ties > 0, "the golden scores tie");
    let lost = 0.5 * ties as f64 / (in_dist.len() * ood.len()) as f64;
    assert_close("AUROC", metrics.auroc - lost, golden::f64("ood.reference.AUROC"), 1e-12);

    // With a tie-breaking that it would choose as well, nothing is left but its trapezoids under the precision curve.
    let broken: Vec<f32> = in_dist.iter().map(|score| score.next_down()).collect();
    let unfair = OodMetrics::of_scores(&broken, &ood).unwrap();
    assert_close("AUROC", unfair.auroc, golden::f64("ood.reference.AUROC"), 1e-12);
    assert_close("AUPR in", unfair.aupr_in, golden::f64("ood.reference.AUIN"), 1e-3);
    assert_close("AUPR out", unfair.aupr_out, golden::f64("ood.reference.AUOUT"), 1e-3);

    // It takes the point nearest to TPR 95 %, ours is the first that reaches it.
    assert_close("TNR", unfair.tnr95, golden::f64("ood.reference.TNR"), 1e-12);
    println!("TNR95 {} with ties kept together, {} in the reference", metrics.tnr95, unfair.tnr95);
    assert!(metrics.tnr95 <= unfair.tnr95 && unfair.tnr95 - metrics.tnr95 < 0.01);
}
