use proptest::prelude::*;

use super::*;

#[test]
fn perfect_and_reversed() {
    let good = OodMetrics::of_scores(&[3.0, 2.0], &[1.0, 0.0, -1.0]).unwrap();
    assert_eq!((good.auroc, good.aupr_in, good.aupr_out), (1.0, 1.0, 1.0));
    assert_eq!((good.fpr95, good.tnr95, good.tpr_at_fpr05, good.detection_accuracy), (0.0, 1.0, 1.0, 1.0));
    let bad = OodMetrics::of_scores(&[1.0, 0.0], &[3.0, 2.0]).unwrap();
    assert_eq!((bad.auroc, bad.fpr95, bad.tpr_at_fpr05, bad.detection_accuracy), (0.0, 1.0, 0.0, 0.5));
    // Precision 1/3 and 2/4 at the two positives.
    assert!((bad.aupr_in - (1.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
}

#[test]
fn all_ties_are_a_coin() {
    let same = OodMetrics::of_scores(&[0.5; 30], &[0.5; 10]).unwrap();
    assert_eq!((same.auroc, same.aupr_in, same.aupr_out), (0.5, 0.75, 0.25));
    assert_eq!((same.fpr95, same.tpr_at_fpr05, same.detection_accuracy), (1.0, 0.0, 0.5));
    assert_eq!(OodMetrics::of_scores(&[0.0], &[-0.0]).unwrap().auroc, 0.5);
}

#[test]
fn exactly_95_percent_is_enough() {
    // 19 of 20 in-distribution rows above every OOD row, the last one below all.
    let in_dist: Vec<f32> = (0..20).map(|i| if i == 0 { -1.0 } else { 1.0 }).collect();
    let metrics = OodMetrics::of_scores(&in_dist, &[0.0; 4]).unwrap();
    assert_eq!((metrics.fpr95, metrics.tpr_at_fpr05), (0.0, 0.95));
}

#[test]
fn bad_scores_are_refused() {
    assert!(OodMetrics::of_scores(&[], &[1.0]).is_err());
    let message = OodMetrics::of_scores(&[1.0], &[0.0, f32::NAN]).unwrap_err().to_string();
    assert!(message.contains("OOD scores: row 1"), "{message}");
}

proptest! {
    #[test]
    fn auroc_is_the_share_of_pairs_won(
        in_dist in prop::collection::vec(0i8..10, 1..40), ood in prop::collection::vec(0i8..10, 1..40)
    ) {
        let scores = |values: &[i8]| values.iter().map(|&v| f32::from(v)).collect::<Vec<_>>();
        let metrics = OodMetrics::of_scores(&scores(&in_dist), &scores(&ood)).unwrap();
        let pairs = in_dist.iter().flat_map(|a| ood.iter().map(move |b| match a.cmp(b) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 1.0,
        }));
        let share = pairs.sum::<f64>() / (in_dist.len() * ood.len()) as f64;
        prop_assert!((metrics.auroc - share).abs() < 1e-12);

        // Exchanging the sets and negating the scores mirrors every figure.
        let negated = |values: &[i8]| values.iter().map(|&v| -f32::from(v)).collect::<Vec<_>>();
        let mirrored = OodMetrics::of_scores(&negated(&ood), &negated(&in_dist)).unwrap();
        prop_assert!((metrics.auroc - mirrored.auroc).abs() < 1e-12);
        prop_assert!((metrics.aupr_in - mirrored.aupr_out).abs() < 1e-12);
        prop_assert!((metrics.detection_accuracy - mirrored.detection_accuracy).abs() < 1e-12);
    }

    #[test]
    fn an_increasing_map_changes_nothing(
        in_dist in prop::collection::vec(-5f32..5.0, 1..40), ood in prop::collection::vec(-5f32..5.0, 1..40)
    ) {
        let map = |scores: &[f32]| scores.iter().map(|s| s * 4.0).collect::<Vec<_>>();
        prop_assert_eq!(
            OodMetrics::of_scores(&in_dist, &ood).unwrap(),
            OodMetrics::of_scores(&map(&in_dist), &map(&ood)).unwrap()
        );
    }
}
