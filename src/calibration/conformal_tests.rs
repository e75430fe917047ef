use proptest::prelude::*;

use super::*;

fn scores(values: &[f32]) -> ConformalScores {
    ConformalScores::try_new(values.to_vec()).unwrap()
}

#[test]
fn nineteen_rows_by_hand() {
    // n + 1 = 20: the score below all rows has p = 0.05, the one between the first two 0.1.
    let values: Vec<f32> = (1..=19).rev().map(|v| v as f32).collect();
    let scores = scores(&values);
    assert_eq!(scores.p_value(0.5).unwrap(), 0.05);
    assert_eq!(scores.p_value(1.0).unwrap(), 0.1);
    assert_eq!(scores.p_value(1.5).unwrap(), 0.1);
    assert_eq!(scores.p_value(99.0).unwrap(), 1.0);
    assert!(scores.verdict(0.5, 0.05).unwrap().is_ood);
    assert!(!scores.verdict(1.0, 0.05).unwrap().is_ood);
    assert_eq!(scores.threshold(0.05), Some(1f32.next_down()));
    assert_eq!(scores.threshold(0.1), Some(2f32.next_down()));
    assert_eq!(scores.threshold(0.049), None);
    assert_eq!(scores.threshold(1.0), Some(f32::MAX));
}

#[test]
fn too_few_rows_are_told_what_is_missing() {
    let eighteen = scores(&[0.0; 18]);
    let message = eighteen.check_alpha(0.05).unwrap_err().to_string();
    assert!(message.contains("18 calibration rows") && message.contains("at least 19 rows"), "{message}");
    scores(&[0.0; 19]).check_alpha(0.05).unwrap();
    for alpha in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(eighteen.check_alpha(alpha).is_err(), "{alpha}");
    }
    for (alpha, rows) in [(0.05, 19), (0.1, 9), (0.01, 99), (0.5, 1), (0.9, 1), (0.3, 3), (0.001, 999)] {
        assert_eq!(rows_to_flag(alpha), rows, "{alpha}");
    }
}

#[test]
fn scores_that_are_not_finite_are_row_errors() {
    for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = scores(&[1.0]).verdict(score, 0.5).unwrap_err();
        assert_eq!(error.code, RowErrorCode::NonFiniteScore);
        assert!(ConformalScores::try_new(vec![0.0, score]).unwrap_err().to_string().contains("row 1"));
    }
    assert!(ConformalScores::try_new(vec![]).is_err());
}

#[test]
fn serialises_as_a_sorted_list() {
    let json = serde_json::to_string(&scores(&[0.5, -0.1, 0.3])).unwrap();
    assert_eq!(json, "[-0.1,0.3,0.5]");
    assert_eq!(serde_json::from_str::<ConformalScores>(&json).unwrap(), scores(&[0.5, -0.1, 0.3]));
    assert_eq!(serde_json::from_str::<ConformalScores>("[0.5,-0.1]").unwrap(), scores(&[0.5, -0.1]));
    assert!(serde_json::from_str::<ConformalScores>("[]").is_err());
    assert!(serde_json::from_str::<ConformalScores>("[null]").is_err());
}

proptest! {
    /// Every one of n + 1 exchangeable rows is equally likely to be the new one, so the chance of a flag is the share
    /// flagged when each in turn is judged by the others. It must not exceed alpha, with or without ties.
    #[test]
    fn flags_at_most_alpha_of_exchangeable_rows(
        rows in prop::collection::vec(-8i8..8, 2..60), alpha in 0.01f64..0.6
    ) {
        let rows: Vec<f32> = rows.into_iter().map(|v| f32::from(v) / 4.0).collect();
        let flagged = (0..rows.len()).filter(|&new| {
            let others = rows.iter().enumerate().filter(|&(row, _)| row != new).map(|(_, &score)| score).collect();
            ConformalScores::try_new(others).unwrap().verdict(rows[new], alpha).unwrap().is_ood
        });
        prop_assert!(flagged.count() as f64 <= alpha * rows.len() as f64 + 1e-9);
    }

    /// Without ties the bound is met as closely as whole rows allow.
    #[test]
    fn flags_no_fewer_than_needed(n in 1usize..200, alpha in 0.01f64..0.6) {
        let rows: Vec<f32> = (0..=n).map(|v| v as f32).collect();
        let flagged = (0..rows.len()).filter(|&new| {
            let others = rows.iter().enumerate().filter(|&(row, _)| row != new).map(|(_, &score)| score).collect();
            ConformalScores::try_new(others).unwrap().verdict(rows[new], alpha).unwrap().is_ood
        });
        prop_assert_eq!(flagged.count(), (alpha * (n as f64 + 1.0)).floor() as usize);
    }

    #[test]
    fn threshold_and_flag_agree(
        rows in prop::collection::vec(-8i8..8, 1..60), at in -9i8..9, step in -1i8..=1, alpha in 0.01f64..0.99
    ) {
        let scores = scores(&rows.iter().map(|&v| f32::from(v)).collect::<Vec<_>>());
        let at = f32::from(at);
        let score = match step { -1 => at.next_down(), 0 => at, _ => at.next_up() };
        let flagged = scores.verdict(score, alpha).unwrap().is_ood;
        prop_assert_eq!(flagged, scores.threshold(alpha).is_some_and(|threshold| score <= threshold));
        prop_assert_eq!(scores.threshold(alpha).is_none(), scores.check_alpha(alpha).is_err());
    }
}
