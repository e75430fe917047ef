use proptest::prelude::*;

use super::*;

#[test]
fn three_rows_by_hand() {
    // Bins of width 0.5: {0.2 wrong, 0.5 right} gap 0.15, {0.9 right} gap 0.1.
    let bins = Reliability::equal_width(&[0.2, 0.5, 0.9], &[false, true, true], 2).unwrap();
    assert_eq!(bins.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [2, 1]);
    assert!((bins.ece() - (2.0 * 0.15 + 0.1) / 3.0).abs() < 1e-7, "{}", bins.ece());
    assert!((bins.mce() - 0.15).abs() < 1e-7);
    assert_eq!(bins.over_confidence(), 0.0);
    // One over-confident bin: 0.8 * (0.8 - 0.5).
    let bins = Reliability::equal_width(&[0.8, 0.8], &[false, true], 15).unwrap();
    assert!((bins.over_confidence() - 0.24).abs() < 1e-7);
}

#[test]
fn edges_belong_to_the_bin_below() {
    let edges = equal_width_edges(5);
    for (confidence, bin) in [(0.0, 0), (0.2, 0), (0.2f32.next_up(), 1), (0.4, 1), (0.6, 2), (0.8, 3), (1.0, 4)] {
        assert_eq!(bin_of(&edges, confidence), bin, "{confidence}");
    }
}

#[test]
fn equal_count_bins_differ_by_at_most_one() {
    let confidences = [0.1, 0.9, 0.3, 0.5, 0.7];
    let bins = Reliability::equal_count(&confidences, &[true; 5], 2).unwrap();
    assert_eq!(bins.bins.iter().map(|bin| (bin.count, bin.upper)).collect::<Vec<_>>(), [(2, 0.3), (3, 0.9)]);
    // More bins than rows: empty bins count nothing.
    let bins = Reliability::equal_count(&[0.25], &[true], 3).unwrap();
    assert_eq!(bins.ece(), 0.75);
}

#[test]
fn thresholding_leaves_small_probabilities_out() {
    // Class 1 has probability e^-20 in both rows: with the threshold only class 0 counts, whose gap is 0.5.
    let logits = [0.0, -20.0, 0.0, -20.0];
    let rows = LabelledLogits::try_new(&logits, 2, &[0, 1]).unwrap();
    assert!((tace(&rows, 1.0, 1, TACE_THRESHOLD).unwrap() - 0.25).abs() < 1e-6);
    assert!((ace(&rows, 1.0, 1).unwrap() - 0.5).abs() < 1e-6);
}

#[test]
fn bad_input_is_refused() {
    assert!(ece(&[], &[]).is_err());
    assert!(ece(&[0.5], &[true, false]).is_err());
    assert!(ece(&[f32::NAN], &[true]).unwrap_err().to_string().contains("row 0"));
    assert!(ece(&[0.5, 1.5], &[true, true]).unwrap_err().to_string().contains("row 1"));
    assert!(Reliability::equal_width(&[0.5], &[true], 0).is_err());
}

proptest! {
    #[test]
    fn bins_hold_every_row_once_where_it_belongs(confidence in 0f32..=1.0, bins in 1usize..40) {
        let edges = equal_width_edges(bins);
        let bin = bin_of(&edges, confidence);
        prop_assert!((bin == 0 || confidence > edges[bin]) && confidence <= edges[bin + 1]);
    }

    #[test]
    fn order_does_not_matter_and_errors_are_shares(
        mut rows in prop::collection::vec((0f32..=1.0, any::<bool>()), 1..200)
    ) {
        let of = |rows: &[(f32, bool)]| {
            let (confidences, correct): (Vec<f32>, Vec<bool>) = rows.iter().copied().unzip();
            Reliability::equal_width(&confidences, &correct, DEFAULT_BINS).unwrap()
        };
        let first = of(&rows);
        prop_assert_eq!(first.bins.iter().map(|bin| bin.count).sum::<u64>(), rows.len() as u64);
        prop_assert!((0.0..=1.0).contains(&first.ece()) && first.ece() <= first.mce() + 1e-12);
        rows.reverse();
        prop_assert!((first.ece() - of(&rows).ece()).abs() < 1e-9);
    }
}
