use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Rows whose label is drawn from `softmax(logits)`, with the logits then multiplied by `factor`: the right temperature
/// is `factor`.
fn drawn(rows: usize, classes: usize, factor: f32, seed: u64) -> (Vec<f32>, Vec<i64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut logits, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let z: Vec<f32> = (0..classes).map(|_| rng.random_range(-3f32..3.0)).collect();
        let sum: f32 = z.iter().map(|z| z.exp()).sum();
        let mut at = rng.random_range(0f32..1.0) * sum;
        let label = z.iter().position(|z| {
            at -= z.exp();
            at <= 0.0
        });
        labels.push(label.unwrap_or(classes - 1) as i64);
        logits.extend(z.iter().map(|z| z * factor));
    }
    (logits, labels)
}

fn fit(logits: &[f32], classes: usize, labels: &[i64], objective: Objective) -> Result<TemperatureFit> {
    let rows = LabelledLogits::try_new(logits, classes, labels).unwrap();
    fit_temperature(&rows, &TemperatureSearch { objective, ..TemperatureSearch::default() })
}

#[test]
fn finds_the_temperature_that_made_the_rows() {
    for factor in [0.05, 0.3, 1.0, 6.0] {
        let (logits, labels) = drawn(4000, 5, factor, 3);
        for (objective, tolerance) in [(Objective::Ece, 0.15), (Objective::Nll, 0.1)] {
            let fit = fit(&logits, 5, &labels, objective).unwrap();
            let error = (fit.temperature / factor).ln().abs();
            assert!(error < tolerance, "{objective:?}: {} for {factor}", fit.temperature);
            assert!(fit.ece_after < 0.02, "{fit:?}");
            assert_eq!(fit.selection, Selection::Minimum);
        }
    }
}

#[test]
fn nll_minimum_is_a_minimum() {
    let (logits, labels) = drawn(500, 4, 0.2, 5);
    let fit = fit(&logits, 4, &labels, Objective::Nll).unwrap();
    let rows = LabelledLogits::try_new(&logits, 4, &labels).unwrap();
    for factor in [0.9, 0.99, 1.01, 1.1] {
        assert!(proper::nll(&rows, fit.temperature * factor) >= fit.nll_after - 1e-9);
    }
}

#[test]
fn all_rows_right_is_not_endless_confidence() {
    let labels: Vec<i64> = (0..98).map(|row| row % 2).collect();
    let logits: Vec<f32> = labels.iter().flat_map(|&label| [0.3 * (1 - label) as f32, 0.3 * label as f32]).collect();
    let fitted = fit(&logits, 2, &labels, Objective::Ece).unwrap();
    assert_eq!(fitted.selection, Selection::AllRowsRight);
    // 1 / (1 + exp(-0.3 / T)) = 99 / 100 at T = 0.3 / ln 99.
    assert!((fitted.temperature - 0.3 / 99f32.ln()).abs() < 1e-4, "{}", fitted.temperature);
    assert!((fitted.ece_after - 0.01).abs() < 1e-5 && fitted.ece_after <= fitted.ece_before);

    // Rows that are surer than that at temperature 1 stay as they are.
    let sure: Vec<f32> = logits.iter().map(|z| z * 100.0).collect();
    assert_eq!(fit(&sure, 2, &labels, Objective::Ece).unwrap().temperature, 1.0);
}

#[test]
fn an_end_of_the_range_is_an_error_with_advice() {
    // Sure and always wrong: only an endless temperature helps.
    let message = fit(&[5.0, 0.0, 5.0, 0.0], 2, &[1, 1], Objective::Ece).unwrap_err().to_string();
    assert!(message.contains("the end 100") && message.contains("labels"), "{message}");
    // 99 of 100 right by a margin too small for any temperature of the range.
    let logits: Vec<f32> = (0..100).flat_map(|_| [1e-5, 0.0]).collect();
    let labels: Vec<i64> = (0..100).map(|row| i64::from(row == 0)).collect();
    let message = fit(&logits, 2, &labels, Objective::Nll).unwrap_err().to_string();
    assert!(message.contains("the end 0.001") && message.contains("converged"), "{message}");
}

#[test]
fn rows_without_information_keep_temperature_one() {
    // Every temperature gives confidence 1/2: a plateau, of which 1 is the plainest point.
    let fit = fit(&[0.0; 8], 2, &[0, 1, 1, 0], Objective::Ece).unwrap();
    assert_eq!((fit.temperature, fit.ece_after), (1.0, 0.0));
}

#[test]
fn bad_ranges_are_refused() {
    let rows = LabelledLogits::try_new(&[0.0, 1.0], 2, &[0]).unwrap();
    let default = TemperatureSearch::default();
    for search in [
        TemperatureSearch { lowest: 0.0, ..default },
        TemperatureSearch { lowest: 2.0, ..default },
        TemperatureSearch { highest: f32::INFINITY, ..default },
        TemperatureSearch { bins: 0, ..default },
    ] {
        assert!(fit_temperature(&rows, &search).is_err(), "{search:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn never_worse_than_no_temperature_or_a_random_one(
        rows in 5usize..60, factor in 0.05f32..5.0, seed: u64, other in -6.9f32..4.6
    ) {
        let (logits, labels) = drawn(rows, 3, factor, seed);
        for objective in [Objective::Ece, Objective::Nll] {
            // An end of the range is an error, which this property does not speak of.
            let Ok(fit) = fit(&logits, 3, &labels, objective) else { continue };
            match objective {
                Objective::Ece => prop_assert!(fit.ece_after <= fit.ece_before),
                Objective::Nll if fit.selection == Selection::Minimum => {
                    let rows = LabelledLogits::try_new(&logits, 3, &labels).unwrap();
                    prop_assert!(fit.nll_after <= fit.nll_before);
                    prop_assert!(fit.nll_after <= proper::nll(&rows, other.exp()) + 1e-6);
                }
                Objective::Nll => {}
            }
        }
    }

    #[test]
    fn order_of_rows_does_not_matter(seed: u64) {
        let (logits, labels) = drawn(40, 3, 0.3, seed);
        let reversed: Vec<f32> = logits.rchunks_exact(3).flatten().copied().collect();
        let back: Vec<i64> = labels.iter().rev().copied().collect();
        if let (Ok(a), Ok(b)) = (fit(&logits, 3, &labels, Objective::Ece), fit(&reversed, 3, &back, Objective::Ece)) {
            prop_assert!((a.ece_after - b.ece_after).abs() < 1e-9);
        }
    }
}
