use proptest::prelude::*;

use super::*;

fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let mut out = vec![0.0; logits.len()];
    row(logits, temperature, Score::default(), &mut out);
    out
}

#[test]
fn two_classes_by_hand() {
    // z = (ln 3, 0): p = (3/4, 1/4).
    let z = [3f32.ln(), 0.0];
    let entropy = 0.75 * 0.75f32.ln() + 0.25 * 0.25f32.ln();
    let expected = [
        (Score::Mps, 0.75),
        (Score::Es, entropy),
        (Score::Mds, 3f32.ln()),
        (Score::Mmls, 1.5 * 3f32.ln()),
        (Score::Mmles, 1.5 * 3f32.ln() + entropy),
        (Score::Mmleps, 1.5 * 3f32.ln() + entropy + 0.75),
    ];
    for (score, value) in expected {
        assert!((score.of_logits(&z) - value).abs() < 1e-6, "{score}: {} {value}", score.of_logits(&z));
    }
}

#[test]
fn extreme_gaps_stay_finite() {
    for logits in [[0.0, -104.0], [0.0, -1e30], [f32::MAX, f32::MIN], [3e38, 3e38]] {
        for score in Score::OF_LOGITS {
            let huge_mean = logits[0] > 1e38 && !matches!(score, Score::Mps | Score::Es | Score::Mds);
            assert!(huge_mean || score.of_logits(&logits).is_finite(), "{score} {logits:?}");
        }
    }
    assert_eq!(Score::Es.of_logits(&[0.0, -1e30]), 0.0);
    assert_eq!(nll_of_row(&[0.0, -110.0], 1.0, 0), 0.0);
    assert_eq!(nll_of_row(&[0.0, -110.0], 1.0, 1), 110.0);
}

#[test]
fn broken_logits_give_no_usable_score() {
    let rows: [&[f32]; 6] = [
        &[],
        &[f32::NAN, 1.0],
        &[1.0, f32::NAN],
        &[f32::NAN, f32::NAN],
        &[f32::INFINITY, 0.0],
        &[f32::NEG_INFINITY, f32::NEG_INFINITY],
    ];
    for logits in rows {
        for score in Score::OF_LOGITS {
            assert!(!score.of_logits(logits).is_finite(), "{score} {logits:?}");
            for temperature in [1.0, 0.01] {
                let row = row(logits, temperature, score, &mut [0.0; 2]);
                assert!(!row.is_finite(), "{score} {logits:?} {row:?}");
            }
        }
    }
}

#[test]
fn ties_take_the_first_class() {
    assert_eq!(row(&[0.0, 2.0, 2.0], 1.0, Score::Mps, &mut [0.0; 3]).class, 1);
}

#[test]
fn names_round_trip() {
    for score in Score::OF_LOGITS {
        assert_eq!(score.name().parse::<Score>().unwrap(), score);
        assert_eq!(serde_json::to_string(&score).unwrap(), format!("\"{score}\""));
        assert_eq!(serde_json::from_str::<Score>(&format!("\"{score}\"")).unwrap(), score);
    }
    assert_eq!("MMLES".parse::<Score>().unwrap(), Score::default());
    let message = "energy".parse::<Score>().unwrap_err().to_string();
    assert!(message.contains("mmleps"), "{message}");
}

proptest! {
    #[test]
    fn probabilities_are_a_distribution_and_agree_with_the_nll(
        logits in prop::collection::vec(-50f32..50.0, 1..20), temperature in 0.001f32..100.0
    ) {
        let p = softmax(&logits, temperature);
        prop_assert!((p.iter().map(|&p| f64::from(p)).sum::<f64>() - 1.0).abs() < 1e-5);
        for (class, &p) in p.iter().enumerate() {
            let from_nll = (-nll_of_row(&logits, temperature, class)).exp();
            prop_assert!((f64::from(p) - from_nll).abs() < 1e-5, "{} {}", p, from_nll);
        }
    }

    #[test]
    fn class_and_score_do_not_depend_on_the_temperature(
        logits in prop::collection::vec(-50f32..50.0, 1..20), temperature in 0.001f32..100.0
    ) {
        for score in Score::OF_LOGITS {
            let mut probabilities = vec![0.0; logits.len()];
            let scored = row(&logits, temperature, score, &mut probabilities);
            let at_one = row(&logits, 1.0, score, &mut vec![0.0; logits.len()]);
            prop_assert_eq!(scored.class, at_one.class);
            prop_assert_eq!(scored.score, at_one.score);
            prop_assert_eq!(scored.score, score.of_logits(&logits));
            prop_assert_eq!(scored.confidence, probabilities[scored.class]);
            prop_assert_eq!((scored.class, scored.confidence), class_and_confidence(&logits, temperature));
        }
    }

    #[test]
    fn skipping_negligible_terms_is_exact(logits in prop::collection::vec(-300f32..0.0, 2..12)) {
        let softmax = Softmax::of(&logits, 1.0);
        let rest = logits.iter().enumerate().filter(|&(index, _)| index != softmax.class);
        let all = rest.fold(1.0, |sum, (_, &logit)| sum + softmax.term(logit));
        prop_assert_eq!(softmax.sum, all);
    }
}
